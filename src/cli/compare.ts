import { basename, resolve } from "node:path";
import { compare, type Comparison } from "../artifacts/comparison.ts";
import { comparisonPage, differencesTable, resultsTable } from "../artifacts/comparison_page.ts";
import type { RunReport } from "../artifacts/report.ts";
import { abridged } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { writeWhole } from "../base/files.ts";
import { readReport } from "../train.ts";
import { type Flags, parseFlags } from "./flags/flags.ts";
import { placeFlags } from "./flags/place.ts";
import { note, print, textTable } from "./terminal.ts";

/** Flags of `compare`. */
export const compareFlags = {
  out: { value: "FILE", help: "also write a page with the curves of all runs, such as compare.html" },
  json: placeFlags.json,
} as const satisfies Flags;

/** Arguments of `compare` other than flags. */
export const compareOperands = "RUN…";

/** `compare`: settings and results of runs side by side. Returns the exit code. */
export async function compareRuns(args: readonly string[]): Promise<number> {
  const folders: string[] = [];
  const given = parseFlags("compare", compareFlags, args, folders);
  if (folders.length === 0) throw new LocalgradError("compare needs runs: give their folders");
  const { runs, failed } = await readAll(folders);
  if (runs.size === 0) return 2;
  const comparison = compare(runs);
  if (given.json) print(JSON.stringify(comparison));
  else printTables(comparison);
  if (given.out !== undefined) {
    await writeWhole(given.out, comparisonPage(comparison));
    if (!given.json) {
      print(`\n${given.out}: the curves of ${runs.size === 1 ? "the run" : `${runs.size} runs`}`);
    }
  }
  return failed === 0 ? 0 : 2;
}

/** Reads runs by name. A folder that holds none, or a damaged one, is reported, and the others are compared. */
async function readAll(
  folders: readonly string[],
): Promise<{ runs: Map<string, RunReport>; failed: number }> {
  const paths = folders.map((folder) => resolve(folder));
  const different = folders.filter((folder, i) => paths.indexOf(resolve(folder)) === i);
  const names = different.map((folder) => basename(resolve(folder)));
  const distinct = new Set(names).size === names.length;
  const results = await Promise.allSettled(different.map((folder) => readReport(folder)));
  const runs = new Map<string, RunReport>();
  let failed = 0;
  results.forEach((result, i) => {
    if (result.status === "fulfilled") {
      runs.set((distinct ? names[i] : different[i]) ?? "", result.value);
    } else if (result.reason instanceof LocalgradError) {
      note(`error: ${result.reason.message}`);
      failed++;
    } else throw result.reason;
  });
  return { runs, failed };
}

const CELL = 40; // characters of a setting on the terminal; the page shows all

function printTables(comparison: Comparison): void {
  const results = resultsTable(comparison);
  print(textTable(results.heads, results.rows));
  const settings = differencesTable(comparison);
  if (settings === undefined && comparison.runs.length > 1) print("\nall settings are the same");
  if (settings === undefined) return;
  const rows = settings.rows.map((row) => row.map((cell) => abridged(cell, CELL)));
  print(`\n${textTable(settings.heads, rows)}`);
}
