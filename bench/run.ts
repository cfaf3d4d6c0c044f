/**
 * The benchmarks: ours and the peers', each in a separate process, on the same machine in the same run:
 *
 *     deno task bench [--quick] [--only resnet8,man,compile] [--systems localgrad,pytorch,…]
 *
 * `--quick` skips the systems that take minutes (jax-js on wasm, tfjs on cpu) and takes fewer steps. Prints one table
 * per benchmark and writes `results/<time>.json`, with a description of the machine. PyTorch is measured if `python3`
 * has it (`PYTHONPATH` is passed on). Missing systems are listed as such.
 */

import { parseArgs } from "@std/cli/parse-args";
import { devices } from "../mod.ts";
import type { Timing } from "./peers/common.ts";

interface Entry {
  readonly benchmark: string;
  readonly system: string;
  readonly command: readonly string[];
  readonly warmup: number;
  readonly steps: number;
  /** Takes minutes. */
  readonly slow?: boolean;
}

type Result = Entry & ({ readonly timing: Timing } | { readonly missing: string });

const titles: { readonly [benchmark: string]: string } = {
  resnet8: "ResNet-8 training step, batch 32, 32×32×3, SGD with momentum",
  man: "MAN step: man+dgl, ResNet-32, K = 16, batch 32",
  compile: "trace, plan and kernel text: man+dgl, ResNet-110, K = 55, batch 1024",
};

const deno = (script: string, ...args: string[]) => denoWith([], script, ...args);
const denoWith = (flags: readonly string[], script: string, ...args: string[]) => {
  const allowed = ["--allow-read", "--allow-env", "--allow-sys", ...flags];
  return [Deno.execPath(), "run", ...allowed, "--quiet", here(script), ...args];
};
const python = (...args: string[]) => ["python3", here("peers/pytorch.py"), ...args];

const entries: readonly Entry[] = [
  ours("resnet8", "cpu", 3, 20),
  ours("resnet8", "cpu-onednn", 3, 20),
  ours("resnet8", "webgpu", 2, 10),
  pytorch("resnet8", "channels_last", 3, 20),
  pytorch("resnet8", "nchw", 3, 20),
  {
    benchmark: "resnet8",
    system: "jax-js 0.1.25, webgpu",
    command: deno("peers/jax.ts", "webgpu"),
    warmup: 1,
    steps: 4,
  },
  {
    benchmark: "resnet8",
    system: "tfjs 4.22.0, webgpu",
    command: deno("peers/tfjs.ts", "webgpu"),
    warmup: 1,
    steps: 3,
  },
  {
    benchmark: "resnet8",
    system: "jax-js 0.1.25, wasm",
    command: deno("peers/jax.ts", "wasm"),
    warmup: 1,
    steps: 2,
    slow: true,
  },
  {
    benchmark: "resnet8",
    system: "tfjs 4.22.0, cpu",
    command: deno("peers/tfjs.ts", "cpu"),
    warmup: 0,
    steps: 1,
    slow: true,
  },
  ours("man", "cpu", 1, 5),
  ours("man", "cpu-onednn", 1, 5),
  ours("man", "webgpu", 1, 3),
  pytorch("man", "channels_last", 1, 5),
  pytorch("man", "nchw", 1, 5),
  ours("compile", "cpu", 0, 3),
  ours("compile", "webgpu", 0, 3),
];

function ours(benchmark: string, device: string, warmup: number, steps: number): Entry {
  return {
    benchmark,
    system: `localgrad, ${device}`,
    command: denoWith(device === "cpu-onednn" ? ["--allow-ffi"] : [], "ours.ts", benchmark, device),
    warmup,
    steps,
  };
}

function pytorch(benchmark: string, layout: string, warmup: number, steps: number): Entry {
  return { benchmark, system: `pytorch, cpu, ${layout}`, command: python(benchmark, layout), warmup, steps };
}

function here(path: string): string {
  return new URL(path, import.meta.url).pathname;
}

async function measure(entry: Entry, quick: boolean): Promise<Result> {
  const batch = entry.benchmark === "compile" ? 1024 : 32;
  const steps = quick ? Math.ceil(entry.steps / 3) : entry.steps;
  const [program, ...args] = entry.command;
  try {
    const { stdout, stderr } = await new Deno.Command(program!, {
      args: [...args, `${batch}`, `${entry.warmup}`, `${steps}`],
      stdout: "piped",
      stderr: "piped",
    }).output();
    const line = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
    if (line.startsWith("{")) return { ...entry, timing: JSON.parse(line) };
    return { ...entry, missing: reason(new TextDecoder().decode(stderr)) };
  } catch (error) {
    return { ...entry, missing: error instanceof Error ? error.message : `${error}` };
  }
}

/** The most informative line of a failed process's output. */
function reason(stderr: string): string {
  // deno-lint-ignore no-control-regex -- colours
  const lines = stderr.replace(/\x1b\[[0-9;]*m/g, "").split("\n").filter((line) => /error/i.test(line));
  return lines.filter((line) => !line.includes("XDG_RUNTIME_DIR")).at(-1)?.trim() ?? "no output";
}

function print(benchmark: string, results: readonly Result[]): void {
  console.log(`\n${titles[benchmark]}`);
  console.log(
    `${"".padEnd(36)}${"fastest".padStart(12)}${"median".padStart(12)}${"first".padStart(12)}   ms a step`,
  );
  for (const result of results) {
    if ("missing" in result) {
      console.log(`${result.system.padEnd(36)}   not measured: ${result.missing}`);
      continue;
    }
    const { milliseconds, first, system } = result.timing;
    const sorted = milliseconds.toSorted((a, b) => a - b);
    const columns = [sorted[0]!, sorted[Math.floor(sorted.length / 2)]!, first];
    console.log(system.padEnd(36) + columns.map((ms) => ms.toFixed(ms < 100 ? 1 : 0).padStart(12)).join(""));
  }
}

/** A description of the machine. */
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

const usage = `deno task bench [--quick] [--only ${
  Object.keys(titles).join()
}] [--systems localgrad,pytorch,…]`;

/** Reports a fault of the command line and ends the process. */
function refuse(what: string): never {
  console.error(`error: ${what}\n${usage}`);
  Deno.exit(2);
}

const flags = parseArgs(Deno.args, {
  string: ["only", "systems"],
  boolean: ["quick", "help"],
  unknown: (argument: string) => refuse(`${argument} is not known`),
});
if (flags.help) {
  console.log(usage);
  Deno.exit();
}
const only: string[] = flags.only?.split(",") ?? Object.keys(titles);
const strange = only.find((name) => !(name in titles));
if (strange !== undefined) refuse(`there is no benchmark ${JSON.stringify(strange)}`);
const wanted = flags.systems?.split(",");
const described = await machine();
console.log(Object.entries(described).map(([fact, value]) => `${fact}: ${value}`).join("\n"));

const results: Result[] = [];
for (const benchmark of only) {
  for (const entry of entries.filter((entry) => entry.benchmark === benchmark)) {
    if (flags.quick && entry.slow) continue;
    if (wanted !== undefined && !wanted.some((name: string) => entry.system.startsWith(name))) continue;
    results.push(await measure(entry, flags.quick));
  }
  print(benchmark, results.filter((result) => result.benchmark === benchmark));
}

const folder = here("results");
await Deno.mkdir(folder, { recursive: true });
const path = `${folder}/${String(described["time"]).replace(/[:.]/g, "-")}.json`;
const records = results.map(({ benchmark, system, ...rest }) => ({
  benchmark,
  system,
  ...("timing" in rest ? rest.timing : { missing: rest.missing }),
}));
await Deno.writeTextFile(
  path,
  JSON.stringify({ machine: described, arguments: Deno.args, results: records }, null, 1) + "\n",
);
console.log(`\nwritten: ${path}`);
