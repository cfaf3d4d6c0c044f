/**
 * Runs the stages of `bench/gpu.sh` on a card:
 *
 *     run.ts [--budget SECONDS] [--from STAGE] [--only TEXT] [--into DIR] [--dry-run]
 *
 * Each stage writes a file of results, whole after every item, so that a run that is cut off leaves what it had. Run
 * again into the same folder, it goes on with what is missing or failed. `--dry-run` runs every line with tiny shapes on
 * the simulated device; its figures mean nothing and are never saved to bench/results.
 */
import { fromFileUrl, join, resolve } from "@std/path";
import { readIfThere, writeWhole } from "../../src/base/files.ts";
import { formatTime } from "../../src/artifacts/format.ts";
import { gpuFlags } from "./flags.ts";
import { type Given, type Item, itemsOf } from "./items.ts";
import { type Outcome, runScript } from "./program.ts";
import type { Measurement } from "./row.ts";
import { type StageName, STAGES } from "./stages.ts";
import { disagreements, type Result, tables } from "./table.ts";

/** The file of a stage's results. */
interface StageResults {
  /** The machine and commit; results of two machines never share a folder. */
  readonly machine: Outcome["lines"][number];
  /** True for a dry run, whose figures mean nothing. */
  readonly simulated: boolean;
  readonly stage: StageName;
  readonly items: readonly (Item & Outcome)[];
}

const flags = gpuFlags(Deno.args);
const root = fromFileUrl(new URL("../..", import.meta.url));
const folder = join(root, "bench/results");
/** Where .gpu/enter.sh unpacked what bench/gpu-pack.sh packed. */
const host = Deno.env.get("GPU_HOST_ROOT");
const began = performance.now();
const left = () => flags.budget - (performance.now() - began) / 1000;

function fail(text: string): never {
  console.error(`error: ${text}`);
  Deno.exit(2);
}

/** A folder that is removed in the end. */
async function temporary(): Promise<string> {
  const path = await Deno.makeTempDir({ prefix: "localgrad-gpu-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(path, { recursive: true }));
  return path;
}
const scratch = await temporary();

/** The environment of the programs. In a dry run it selects the simulated device. */
async function environment(): Promise<{ [name: string]: string }> {
  if (!flags.dry) return {};
  const simulated = await import("../../tests/cuda/simulated.ts");
  if (Object.keys(simulated.environment).length === 0) {
    fail("there is no g++ to build the simulated device with; install g++");
  }
  // Apart from the card's: their keys may be the same.
  const cache = host === undefined ? join(scratch, "cache") : join(host, "dry-cache");
  return { ...simulated.environment, XDG_CACHE_HOME: cache, OMP_NUM_THREADS: "1" };
}
const env = await environment();

/** Losses recorded with WebAssembly: those packed, or recorded now. */
async function lossesOf(): Promise<string> {
  const packed = join(root, ".gpu", flags.dry ? "losses-small.json" : "losses.json");
  if (await readIfThere(packed) !== undefined) return packed;
  const file = join(scratch, "losses.json");
  const { failed } = await runScript("losses.ts", ["--record", file, ...(flags.dry ? ["--small"] : [])], {
    seconds: left(),
    env,
  });
  if (failed !== undefined) console.error(`error: recording losses with WebAssembly: ${failed}`);
  return file;
}

/** The packed batch file of CIFAR-10. */
async function imagesOf(): Promise<string | undefined> {
  const path = flags.dry || host === undefined ? undefined : join(host, "data/data_batch_1.bin");
  return path === undefined || await Deno.stat(path).catch(() => undefined) === undefined ? undefined : path;
}

const { lines: [machine], failed: noCard } = await runScript("machine.ts", [], { seconds: left(), env });
if (machine === undefined) fail(`${noCard ?? "the card was not described"}\nsee deno task doctor`);
const simulated = String(machine["card"]).includes("simulated");
const stamp = new Date().toISOString().replace(/[:.]/g, "-");
const into = resolve(flags.into ?? (flags.dry ? scratch : join(folder, `gpu-${stamp}`)));
// Checked before measuring, by the card's name, so that no simulated figure gets among the results.
if (simulated && `${into}/`.startsWith(`${await Deno.realPath(folder)}/`)) {
  fail(`simulated figures are never kept in ${folder}; name another folder with --into`);
}
await Deno.mkdir(into, { recursive: true });
if (simulated) console.log("SIMULATED: no figure below means anything\n");
console.log(Object.entries(machine).map(([fact, value]) => `${fact}: ${JSON.stringify(value)}`).join("\n"));

/** The most seconds to look for the launch that failed. */
const AGAIN = 30;

/** Runs an item again, waiting for every launch, and returns what its error then says. */
async function launchOf({ script, args }: Item, seconds: number): Promise<string> {
  const { failed } = await runScript(script, args, { seconds, env: { ...env, GPU_SYNC_LAUNCHES: "1" } });
  return `again, waiting for every launch: ${failed ?? "it did not fail"}`;
}

/** The items of a stage that an earlier run into this folder finished. */
async function before(path: string): Promise<StageResults["items"]> {
  const bytes = await readIfThere(path);
  if (bytes === undefined) return [];
  const old: StageResults = JSON.parse(new TextDecoder().decode(bytes));
  for (const [fact, value] of Object.entries(machine!)) {
    const then = JSON.stringify(old.machine[fact]);
    if (then !== JSON.stringify(value)) {
      fail(`${path} is of another ${fact}, ${then}; move it away, or name another --into`);
    }
  }
  return old.items.filter(({ failed }) => failed === undefined);
}

const given: Given = { dry: flags.dry, losses: await lossesOf(), ...optional("images", await imagesOf()) };

function optional<K extends string, V>(name: K, value: V | undefined): { readonly [N in K]?: V } {
  return value === undefined ? {} : { [name]: value } as { readonly [N in K]: V };
}

const wanted = STAGES.slice(STAGES.findIndex(({ name }) => name === flags.from));
const shares = wanted.reduce((sum, { seconds }) => sum + seconds, 0);
/** What a program needs to start and to end. */
const LEAST = 3;
const NO_TIME = "no time is left";
const all: (Item & Outcome)[] = [];
let ends = 0;
for (const { name: stage, seconds, about } of wanted) {
  // What an earlier stage left, or took too much, moves the ends of none.
  ends += flags.budget * seconds / shares;
  const remaining = () => Math.min(left(), ends - (performance.now() - began) / 1000);
  console.log(`\n${stage}: ${about}; ${formatTime(Math.max(0, remaining()))}`);
  const path = join(into, `${stage}.json`);
  const done: (Item & Outcome)[] = [...await before(path)];
  const write = (items: StageResults["items"]) => {
    const results: StageResults = { machine, simulated, stage, items };
    return writeWhole(path, `${JSON.stringify(results, null, 1)}\n`);
  };
  for (const item of itemsOf(stage, given)) {
    if (flags.only !== undefined && !item.name.includes(flags.only)) continue;
    if (done.some(({ name }) => name === item.name)) continue;
    const limit = Math.min(remaining(), item.seconds ?? Infinity);
    const lines: Outcome["lines"][number][] = [];
    const outcome = limit < LEAST ? { lines, seconds: 0, failed: NO_TIME } : await runScript(
      item.script,
      item.args.map((argument) => argument === "SECONDS" ? String(Math.max(1, limit - 2 * LEAST)) : argument),
      {
        seconds: limit,
        env,
        onLine: async (line) => {
          lines.push(line);
          await write([...done, { ...item, lines, seconds: 0, failed: "cut off" }]);
        },
      },
    );
    const failed = outcome.failed?.includes("--sync-launches")
      ? `${outcome.failed}\n${await launchOf(item, Math.min(remaining(), AGAIN))}`
      : outcome.failed;
    done.push({ ...item, ...outcome, ...optional("failed", failed) });
    await write(done);
    console.log(
      `${failed === undefined ? "ok" : item.optional ? "no result" : "FAILED"} ${item.name} ` +
        `(${outcome.seconds.toFixed(1)} s)${
          failed === undefined ? "" : `\n  ${failed.replaceAll("\n", "\n  ")}`
        }`,
    );
  }
  all.push(...done);
}

/** How a program ended and the last line that it printed, for a table. */
function reasonOf(failed = "no result"): string {
  const [how = ""] = failed.split(": ", 1), last = failed.split("\n").at(-1)!;
  return failed === last ? failed : `${how}: ${last}`;
}

const rows: Result[] = all.flatMap(({ row, lines: [line], failed }) =>
  row === undefined ? [] : [
    line === undefined
      ? { row, missing: reasonOf(failed) }
      : { row, measured: line as unknown as Measurement },
  ]
);
console.log(`\n${tables(rows)}\n`);
const wrong = disagreements(rows);
for (const text of wrong) console.error(`error: ${text}`);
const failures = all.filter(({ failed, optional }) =>
  failed !== undefined && failed !== NO_TIME && !optional
);
const skipped = all.filter(({ failed }) => failed === NO_TIME);
console.log(
  `${
    all.length - failures.length - skipped.length
  } done, ${failures.length} failed, ${skipped.length} without time` +
    `${skipped.length > 0 ? `; go on with --from ${flags.from} --into ${into}` : ""}`,
);
for (const { name } of failures) console.log(`failed: ${name}`);
console.log(`written: ${into}${simulated ? " (SIMULATED)" : ""}`);
Deno.exitCode = wrong.length > 0 || failures.length > 0 ? 1 : 0;
