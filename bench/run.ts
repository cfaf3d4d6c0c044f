/**
 * The benchmarks: ours and the peers', each in a separate process, on the same machine in the same run:
 *
 *     deno task bench [--quick] [--only resnet8,man,…] [--systems localgrad,pytorch,…] [--rounds 5]
 *     deno task bench --profile [--only resnet8,man,…] [--device cpu|cpu-onednn|cpu-bf16|webgpu|reference]
 *
 * Systems take turns, round by round. `--quick` skips the systems that take minutes (jax-js on wasm, tfjs on cpu) and
 * takes fewer steps. Prints one table per benchmark and writes `results/<time>.json`, with a description of the machine.
 * PyTorch is measured if `python3` has it (`PYTHONPATH` is passed on). Missing systems are listed as such.
 *
 * `--profile` instead times each launch of localgrad's step alone, and writes `results/profile-<time>.json`.
 */

import { parseArgs } from "@std/cli/parse-args";
import { devices } from "../mod.ts";
import { benchmarks, denoOn, entries, type Entry, here } from "./benchmarks.ts";
import { multiples } from "./parallel_table.ts";
import { grouped, type Profile } from "./profile/profile.ts";
import { profileTable } from "./profile/table.ts";
import { inRounds, type Outcome } from "./rounds.ts";

type Result = Entry & Outcome;

/** Fastest and median of a system's steps in all rounds. */
function summary({ turns }: Extract<Outcome, { turns: unknown }>) {
  const sorted = turns.flatMap(({ milliseconds }) => milliseconds).sort((a, b) => a - b);
  return { fastest: sorted[0]!, median: sorted[Math.floor(sorted.length / 2)]! };
}

function print(benchmark: string, results: readonly Result[]): void {
  console.log(`\n${benchmarks[benchmark]!.title}`);
  console.log(
    `${"".padEnd(36)}${"fastest".padStart(12)}${"median".padStart(12)}${"first".padStart(12)}   ms a step`,
  );
  for (const result of results) {
    if ("missing" in result) {
      console.log(`${result.system.padEnd(36)}   not measured: ${result.missing}`);
      continue;
    }
    const { system, first } = result.turns[0]!;
    const { fastest, median } = summary(result);
    const columns = [fastest, median, first];
    console.log(system.padEnd(36) + columns.map((ms) => ms.toFixed(ms < 100 ? 1 : 0).padStart(12)).join(""));
  }
  if (benchmarks[benchmark]!.workload === "parallel") {
    const measured = results.flatMap((result) =>
      "turns" in result ? [{ ...result.turns[0]!, ...summary(result) }] : []
    );
    for (const line of multiples(measured)) console.log(line);
  } else {
    compare(results);
  }
}

/** Ours as multiples of PyTorch's best in the same precision, by fastest and by median. */
function compare(results: readonly Result[]): void {
  const measured = results.flatMap((result) =>
    "turns" in result ? [{ system: result.system, ...summary(result) }] : []
  );
  const narrow = (system: string) => system.endsWith("bf16");
  for (const { system, fastest, median } of measured.filter(({ system }) => system.startsWith("localgrad"))) {
    const peers = measured.filter((peer) =>
      peer.system.startsWith("pytorch") && narrow(peer.system) === narrow(system)
    );
    if (peers.length === 0) continue;
    const best = (of: "fastest" | "median") => Math.min(...peers.map((peer) => peer[of]));
    const [a, b] = [fastest / best("fastest"), median / best("median")];
    console.log(
      `${system}: ${a.toFixed(2)} × PyTorch's best in that precision by the fastest step, ${
        b.toFixed(2)
      } × by the median`,
    );
  }
}

/** What the figures were measured on. */
async function machine(): Promise<{ readonly [fact: string]: unknown }> {
  const webgpu = await devices.probe("webgpu");
  // /proc/cpuinfo itself may be read only with every permission.
  const lscpu = await new Deno.Command("lscpu").output().catch(() => undefined);
  return {
    time: new Date().toISOString(),
    cpu: /model name\s*:\s*(.*)/i.exec(new TextDecoder().decode(lscpu?.stdout))?.[1] ?? Deno.build.arch,
    cores: navigator.hardwareConcurrency,
    memoryBytes: Deno.systemMemoryInfo().total,
    loadBefore: Deno.loadavg(),
    os: `${Deno.build.os} ${Deno.osRelease()}`,
    deno: Deno.version.deno,
    webgpu: webgpu.available ? webgpu.description : `none: ${webgpu.reason}`,
  };
}

/** Measures a benchmark's systems in rounds; gives what the file keeps of each. */
async function measure(benchmark: string): Promise<unknown[]> {
  const systems = entries.filter((entry) =>
    entry.benchmark === benchmark && !(flags.quick && entry.slow) &&
    (wanted === undefined || wanted.some((name) => entry.system.startsWith(name)))
  ).map((entry) => ({ ...entry, steps: flags.quick ? Math.ceil(entry.steps / 3) : entry.steps }));
  const outcomes = await inRounds(systems, rounds);
  const results = systems.map((entry, i): Result => ({ ...entry, ...outcomes[i]! }));
  print(benchmark, results);
  return results.map(({ system, ...rest }) => {
    if ("missing" in rest) return { benchmark, system, missing: rest.missing };
    const { turns } = rest;
    return {
      benchmark,
      ...{ system: turns[0]!.system, first: turns[0]!.first, memory: turns[0]!.memory },
      losses: [turns[0]!.losses[0], turns.at(-1)!.losses[1]],
      rounds: turns.map(({ milliseconds }) => milliseconds),
      ...summary(rest),
    };
  });
}

/** Profiles localgrad's step of a benchmark; gives what the file keeps of it. */
async function profile(benchmark: string): Promise<unknown[]> {
  const { title, workload, batch } = benchmarks[benchmark]!;
  const [program, ...args] = denoOn(
    flags.device,
    "profile/main.ts",
    workload,
    flags.device,
    `${batch}`,
    "10",
  );
  const { code, stdout } = await new Deno.Command(program, { args, stderr: "inherit" }).output();
  if (code !== 0) Deno.exit(code);
  const line = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
  const { device, profiles } = JSON.parse(line) as { device: string; profiles: Profile[] };
  console.log(`\n${title}; ${device}`);
  for (const each of profiles) console.log(`\n${profileTable(each)}`);
  return profiles.map((each) => ({ benchmark, device, groups: grouped(each.steps), ...each }));
}

const usage = `deno task bench [--quick] [--only ${Object.keys(benchmarks).join()}]
                [--systems localgrad,pytorch,…] [--rounds 5]
deno task bench --profile [--only …] [--device cpu|cpu-onednn|cpu-bf16|webgpu|reference]`;

/** Prints what is wrong with the command line, and exits. */
function refuse(what: string): never {
  console.error(`error: ${what}\n${usage}`);
  Deno.exit(2);
}

const flags = parseArgs(Deno.args, {
  string: ["only", "systems", "rounds", "device"],
  boolean: ["quick", "help", "profile"],
  default: { device: "cpu", rounds: "5" },
  unknown: (argument: string) => refuse(`${argument} is not known`),
});
if (flags.help) {
  console.log(usage);
  Deno.exit();
}
const all = Object.keys(benchmarks).filter((name) =>
  !flags.profile || !["compile", "parallel"].includes(benchmarks[name]!.workload)
);
const only: string[] = flags.only?.split(",") ?? all;
const strange = only.find((name) => !all.includes(name));
if (strange !== undefined) refuse(`there is no benchmark ${JSON.stringify(strange)}`);
if (!["cpu", "cpu-onednn", "cpu-bf16", "webgpu", "reference"].includes(flags.device)) {
  refuse(`there is no profile of ${JSON.stringify(flags.device)}; for CUDA, use bench/gpu.sh`);
}
const rounds = Number(flags.rounds);
if (!Number.isSafeInteger(rounds) || rounds < 1) refuse(`--rounds must be at least 1, not "${flags.rounds}"`);
const wanted: string[] | undefined = flags.systems?.split(",");

const described = await machine();
console.log(Object.entries(described).map(([fact, value]) => `${fact}: ${value}`).join("\n"));
const results: unknown[] = [];
for (const benchmark of only) results.push(...await (flags.profile ? profile : measure)(benchmark));

const folder = here("results");
await Deno.mkdir(folder, { recursive: true });
const stamp = String(described["time"]).replace(/[:.]/g, "-");
const path = `${folder}/${flags.profile ? "profile-" : ""}${stamp}.json`;
const record = { machine: { ...described, loadAfter: Deno.loadavg() }, arguments: Deno.args, results };
await Deno.writeTextFile(path, JSON.stringify(record, null, 1) + "\n");
console.log(`\nwritten: ${path}`);
