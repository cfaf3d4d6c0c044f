import { writeWhole } from "../base/files.ts";
import * as data from "../data.ts";
import type { Device } from "../runtime/arrays.ts";
import { open } from "../runtime/devices.ts";
import { progress, report, RunFolder, type RunReport } from "../train.ts";
import { trainerOf } from "./build.ts";
import {
  type DemoResult,
  type DemoRow,
  demoTable,
  meaning,
  MISLABELLED,
  ROWS,
  settingsOf,
  SHARED,
} from "./demo_table.ts";
import { type Flags, parseFlags, wholeNumber } from "./flags/flags.ts";
import { interruption } from "./interruption.ts";
import { claimFolder, timestamp } from "./run_place.ts";
import { note, noteDevice, print, textTable } from "./terminal.ts";

/** Flags of `demo`. */
export const demoFlags = {
  seeds: { value: "N", help: "train every row with the seeds 0 to N - 1, and print the means; default 1" },
} as const satisfies Flags;

/** `demo`: trains end to end and in local modules side by side, on drawn images. Returns the exit code. */
export async function demo(args: readonly string[]): Promise<number> {
  const given = parseFlags("demo", demoFlags, args);
  const seeds = wholeNumber("seeds", given.seeds ?? "1", 1);
  await using place = await claimFolder(`runs/demo-${timestamp()}`);
  const { path } = place;
  await using device = await open();
  noteDevice(device);
  const images = data.shapes({ train: SHARED.trainLimit, test: SHARED.testLimit, mislabelled: MISLABELLED });
  using interrupt = interruption();
  const { signal } = interrupt;
  const results: DemoResult[] = [];
  const runs: RunReport[] = [];
  for (let seed = 0; seed < seeds; seed++) {
    for (const row of ROWS) {
      if (signal.aborted || seed > 0 && row.sameAs !== undefined) continue;
      note(`\n${row.name}, seed ${seed}`);
      const folder = `${path}/${row.name.replace(/[^a-z+]+/g, "-")}/seed${seed}`;
      const { result, run } = await trainRow(device, images, row, { seed, folder, signal });
      if (result !== undefined) results.push(result);
      if (run !== undefined && seed === 0 && row.sameAs === undefined) runs.push(run);
    }
  }
  const { heads, rows } = demoTable(results);
  const lines = meaning(results);
  await writeWhole(`${path}/results.json`, `${JSON.stringify({ results }, undefined, 2)}\n`);
  if (runs.length > 0) await writeWhole(`${path}/report.html`, report(runs, { notes: lines }));
  print(`\n${textTable(heads, rows)}\n\n${lines.join("\n")}`);
  print(`\nreport: ${path}/report.html`);
  return interrupt.exitCode;
}

/** Trains a row with a seed; the result is undefined if it was stopped before. */
async function trainRow(
  device: Device,
  images: data.ImageDataset,
  row: DemoRow,
  { seed, folder, signal }: { readonly seed: number; readonly folder: string; readonly signal: AbortSignal },
): Promise<{ result?: DemoResult; run?: RunReport }> {
  const settings = settingsOf(row, seed);
  using trainer = await trainerOf(settings, device);
  const record = new RunFolder(folder, { ...settings });
  const started = performance.now();
  const { last, stopped } = await trainer.fit(images, {
    epochs: settings.epochs,
    evaluateEvery: SHARED.epochs / 4,
    observers: [progress(), record],
    signal,
  });
  const seconds = (performance.now() - started) / 1000;
  const { info, lines } = record;
  const run = info === undefined ? {} : { run: { info, lines, settings: { ...settings }, seconds } };
  if (stopped || last === undefined) return run;
  const { method, endToEnd } = trainer.memory;
  return {
    ...run,
    result: {
      name: row.name,
      seed,
      modules: trainer.setup.modules.length,
      ...(row.sameAs === undefined ? { error: last.error } : {}),
      peakBytes: method.peakBytes,
      endToEndBytes: endToEnd.peakBytes,
      seconds: seconds * SHARED.epochs / settings.epochs,
    },
  };
}
