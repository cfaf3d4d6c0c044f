/**
 * Measures our training steps and PyTorch's on a card, each in a separate process; started by gpu.sh:
 *
 *     run.ts [quick|full] [--dry-run] [--into FILE] [--minutes N] [--only TEXT]
 *
 * Prints tables and rewrites the file of results after every row. `full` resumes where its file ends. `--dry-run` runs
 * every line with tiny shapes on the simulated device; its figures mean nothing and are never saved to bench/results.
 */
import { dirname, resolve } from "@std/path";
import { cudaReport } from "../../ffi/doctor.ts";
import { openLibraries } from "../../ffi/library.ts";
import { readIfThere, writeWhole } from "../../src/base/files.ts";
import type { Timing } from "../peers/common.ts";
import { gpuFlags } from "./flags.ts";
import { type Measurement, type Row, rowName } from "./row.ts";
import { dryRows, fullRows, quickRows } from "./rows.ts";
import { disagreements, type Result, tables } from "./table.ts";

/** The contents of a file of results. */
interface Results {
  /** The machine and commit; results of two machines never share a file. */
  readonly machine: { readonly [fact: string]: unknown };
  /** True for a dry run, whose figures mean nothing. */
  readonly simulated: boolean;
  readonly mode: string;
  readonly rows: readonly Result[];
  readonly others: readonly Other[];
}

/** A step of another system, or ours on WebGPU: ResNet-8, as in bench/run.ts. */
type Other = { readonly name: string } & ({ readonly timing: Timing } | { readonly missing: string });

const here = (path: string) => new URL(path, import.meta.url).pathname;

const flags = gpuFlags(Deno.args);
const { mode, dry, minutes } = flags;

function fail(text: string): never {
  console.error(`error: ${text}`);
  Deno.exit(2);
}

/** The environment of the measurements. In a dry run it selects the simulated device and a separate cache. */
async function environment(): Promise<{ [name: string]: string }> {
  if (!dry) return {};
  const simulated = await import("../../tests/cuda/simulated.ts");
  if (Object.keys(simulated.environment).length === 0) {
    fail("there is no g++ to build the simulated device with; install g++");
  }
  const cache = await Deno.makeTempDir({ prefix: "localgrad-bench-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(cache, { recursive: true }));
  return { ...simulated.environment, XDG_CACHE_HOME: cache, OMP_NUM_THREADS: "1" };
}

const env = await environment();
for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);

async function machine(): Promise<Results["machine"]> {
  const { cards, libraries, problem } = cudaReport(openLibraries());
  const [card] = cards;
  if (card === undefined) fail(`no card: ${problem ?? libraries.find(({ problem }) => problem)?.problem}`);
  const commit = await new Deno.Command("git", { args: ["rev-parse", "--short", "HEAD"] }).output().catch(
    () => undefined,
  );
  return {
    card: card.name,
    architecture: card.architecture,
    cardBytes: card.totalBytes,
    libraries: Object.fromEntries(libraries.map(({ name, version }) => [name, version ?? "none"])),
    commit: dry ? "a dry run" : commit?.success ? new TextDecoder().decode(commit.stdout).trim() : "unknown",
    deno: Deno.version.deno,
    os: `${Deno.build.os} ${Deno.osRelease()}`,
    cores: navigator.hardwareConcurrency,
  };
}

const described = await machine();
const simulated = String(described["card"]).includes("simulated");
const folder = here("../results");
const stamp = new Date().toISOString().replace(/[:.]/g, "-");
const path = flags.into ??
  (dry
    ? `${await Deno.makeTempDir({ prefix: "localgrad-dry-run-" })}/simulated.json`
    : `${folder}/gpu-${mode === "full" ? "full" : `quick-${stamp}`}.json`);
// Checked before measuring, by the card's name, so that no simulated figure gets among the results.
if (simulated) {
  const parent = await Deno.realPath(dirname(resolve(path))).catch(() =>
    fail(`the folder of ${path} does not exist`)
  );
  if (parent === await Deno.realPath(folder)) {
    fail(`simulated figures are never kept in ${folder}; name another file with --into`);
  }
}

/** The results already in the file, if they are of this machine and commit. */
async function before(): Promise<Pick<Results, "rows" | "others">> {
  const bytes = await readIfThere(path);
  if (bytes === undefined) return { rows: [], others: [] };
  const old: Results = JSON.parse(new TextDecoder().decode(bytes));
  for (const [fact, value] of Object.entries(described)) {
    if (JSON.stringify(old.machine[fact]) !== JSON.stringify(value)) {
      fail(
        `${path} is of another ${fact}, ${
          JSON.stringify(old.machine[fact])
        }; move it away, or name another --into`,
      );
    }
  }
  return {
    rows: old.rows.filter((result) => "measured" in result),
    others: old.others.filter((other) => "timing" in other),
  };
}

const deadline = performance.now() + 60_000 * minutes;
/** The longest that one row may take: compilers take minutes. */
const ROW_SECONDS = mode === "quick" ? 150 : 900;

/** Runs a program whose last line of output is JSON; returns that, or the reason why there is none. */
async function lineOf<T>(
  program: string,
  args: readonly string[],
): Promise<{ line: T } | { missing: string }> {
  const left = Math.min(ROW_SECONDS, (deadline - performance.now()) / 1000);
  if (left < 5) return { missing: "no time is left" };
  try {
    const child = new Deno.Command(program, {
      args: [...args],
      env,
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(1000 * left),
    });
    const { stdout, stderr, signal } = await child.output();
    const line = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
    if (line.startsWith("{")) return { line: JSON.parse(line) };
    if (signal !== null) return { missing: `not done in ${Math.round(left)} s` };
    return { missing: reason(new TextDecoder().decode(stderr)) };
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}

/** The most informative line of a failed process's output. */
function reason(stderr: string): string {
  // deno-lint-ignore no-control-regex -- colours
  const lines = stderr.replace(/\x1b\[[0-9;]*m/g, "").split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.findLast((line) => /error/i.test(line) && !line.includes("XDG_RUNTIME_DIR")) ?? lines.at(-1) ??
    "no output";
}

const deno = ["run", "--quiet", "--allow-read", "--allow-env", "--allow-ffi", "--allow-write", "--allow-sys"];

async function measure(row: Row): Promise<Result> {
  const given = JSON.stringify(row);
  const result = row.system === "localgrad"
    ? await lineOf<Measurement>(Deno.execPath(), [...deno, here("ours.ts"), given])
    : await lineOf<Measurement>("python3", [here("../pytorch/measure.py"), given]);
  return "line" in result ? { row, measured: result.line } : { row, missing: result.missing };
}

/** The programs of other systems, which run a ResNet-8 step of batch 32, and ours to compare. */
const others: readonly {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
}[] = [
  { name: "ResNet-8, localgrad, cuda", script: "../ours.ts", args: ["resnet8", "cuda"] },
  { name: "ResNet-8, localgrad, webgpu", script: "../ours.ts", args: ["resnet8", "webgpu"] },
  { name: "ResNet-8, jax-js, webgpu", script: "../peers/jax.ts", args: ["webgpu"] },
  { name: "ResNet-8, tfjs, webgpu", script: "../peers/tfjs.ts", args: ["webgpu"] },
  { name: "man+dgl, ResNet-32, K = 16, localgrad, webgpu", script: "../ours.ts", args: ["man", "webgpu"] },
];

async function measureOther({ name, script, args }: typeof others[number]): Promise<Other> {
  const [batch, warmup, steps] = dry ? [2, 0, 1] : [32, 3, 20];
  const counts = [batch, warmup, steps].map(String);
  const result = await lineOf<Timing>(Deno.execPath(), [...deno, here(script), ...args, ...counts]);
  return "line" in result ? { name, timing: result.line } : { name, missing: result.missing };
}

if (simulated) console.log("SIMULATED: no figure below means anything\n");
console.log(Object.entries(described).map(([fact, value]) => `${fact}: ${JSON.stringify(value)}`).join("\n"));

const all = (dry ? dryRows() : mode === "full" ? fullRows() : quickRows())
  .filter((row) => flags.only === undefined || rowName(row).includes(flags.only));
const kept = await before();
const rows: Result[] = [...kept.rows];
const timings: Other[] = [...kept.others];
const write = () => {
  const results: Results = {
    machine: described,
    simulated,
    mode: dry ? "dry run" : mode,
    rows,
    others: timings,
  };
  return writeWhole(path, `${JSON.stringify(results, null, 1)}\n`);
};
for (const row of all) {
  const name = rowName(row);
  if (kept.rows.some((result) => rowName(result.row) === name)) continue;
  const result = await measure(row);
  rows.push(result);
  console.error(`${name}: ${"measured" in result ? "measured" : result.missing}`);
  await write();
}
for (const other of dry ? others.slice(0, 1) : others) {
  if (kept.others.some(({ name }) => name === other.name)) continue;
  timings.push(await measureOther(other));
  await write();
}

console.log(`\n${tables(rows)}\n`);
for (const other of timings) {
  const text = "timing" in other
    ? `${Math.min(...other.timing.milliseconds).toFixed(2)} ms a step`
    : `not measured: ${other.missing}`;
  console.log(`${other.name}, batch ${dry ? 2 : 32}: ${text}`);
}
console.log(`\nwritten: ${path}${simulated ? " (SIMULATED)" : ""}`);
const wrong = disagreements(rows);
for (const text of wrong) console.error(`error: ${text}`);
const failed = rows.some((result) =>
  "missing" in result && result.row.system === "localgrad" && result.missing !== "no time is left"
);
Deno.exitCode = wrong.length > 0 || failed ? 1 : 0;
