/** The benchmarks, and the systems that take part in each. */

/** One system in a benchmark: a program that takes turns, see `report` in peers/common.ts. */
export interface Entry {
  readonly benchmark: string;
  readonly system: string;
  readonly command: readonly [program: string, ...args: string[]];
  /** Steps that are not timed in the first turn; a later turn has one if the first has any. */
  readonly warmup: number;
  /** Timed steps of all turns together. */
  readonly steps: number;
  /** Takes minutes. */
  readonly slow?: boolean;
}

/** A benchmark: a workload of workloads.ts and peers/pytorch.py with a batch. */
export interface Benchmark {
  readonly title: string;
  readonly workload: string;
  readonly batch: number;
}

/** The benchmarks by name. */
export const benchmarks: { readonly [name: string]: Benchmark } = {
  resnet8: {
    title: "ResNet-8 training step, batch 32, 32×32×3, SGD with momentum",
    workload: "resnet8",
    batch: 32,
  },
  man: { title: "MAN step: man+dgl, ResNet-32, K = 16, batch 32", workload: "man", batch: 32 },
  man128: { title: "MAN step: man+dgl, ResNet-32, K = 16, batch 128", workload: "man", batch: 128 },
  resnet50: { title: "ResNet-50 training step, batch 8, 64×64×3", workload: "resnet50", batch: 8 },
  resnet18: { title: "ResNet-18 training step, batch 8, 224×224×3", workload: "resnet18", batch: 8 },
  vit: {
    title: "ViT-Tiny training step, batch 32, 32×32×3 in parts of 4×4",
    workload: "vit",
    batch: 32,
  },
  inference1: { title: "ResNet-18 inference, batch 1, 224×224×3", workload: "inference", batch: 1 },
  inference32: { title: "ResNet-18 inference, batch 32, 224×224×3", workload: "inference", batch: 32 },
  parallel: {
    title: "processes × threads: man+dgl, ResNet-32, K = 16, batch 32; PyTorch: end to end",
    workload: "parallel",
    batch: 32,
  },
  parallel128: {
    title: "processes × threads: man+dgl, ResNet-32, K = 16, batch 128; PyTorch: end to end",
    workload: "parallel",
    batch: 128,
  },
  compile: {
    title: "trace, plan and kernel text: man+dgl, ResNet-110, K = 55, batch 1024",
    workload: "compile",
    batch: 1024,
  },
};

/** The CPU backend with WebAssembly alone, and with oneDNN. */
const CPU = ["cpu", "cpu-onednn"];

/** PyTorch's layouts, and `torch.compile` in the faster one. */
const MODES = ["channels_last", "nchw", "compile"];
/** The same in bf16, by autocast: systems whose names end so are compared with each other. */
const BF16_MODES = ["bf16", "compile_bf16"];

/** Every system of every benchmark. */
export const entries: readonly Entry[] = [
  ...ours("resnet8", [...CPU, "cpu-bf16"], 3, 20),
  ...ours("resnet8", ["webgpu"], 2, 10),
  ...pytorch("resnet8", 3, 20, [...MODES, ...BF16_MODES]),
  peer("jax-js 0.1.25, webgpu", "jax.ts", 1, 4),
  peer("tfjs 4.22.0, webgpu", "tfjs.ts", 1, 3),
  { ...peer("jax-js 0.1.25, wasm", "jax.ts", 1, 2), slow: true },
  { ...peer("tfjs 4.22.0, cpu", "tfjs.ts", 0, 1), slow: true },
  ...ours("man", [...CPU, "cpu-bf16"], 1, 10),
  ...ours("man", ["webgpu"], 1, 5),
  ...pytorch("man", 1, 10, [...MODES, ...BF16_MODES]),
  ...ours("man128", CPU, 1, 5),
  ...pytorch("man128", 1, 5),
  ...ours("resnet50", [...CPU, "cpu-bf16"], 1, 10),
  ...pytorch("resnet50", 1, 10, [...MODES, "bf16"]),
  ...ours("resnet18", CPU, 1, 5),
  ...pytorch("resnet18", 1, 5),
  ...ours("vit", [...CPU, "cpu-bf16"], 1, 10),
  ...pytorch("vit", 1, 10, [...MODES, ...BF16_MODES]),
  ...ours("inference1", CPU, 3, 20),
  ...pytorch("inference1", 3, 20),
  ...ours("inference32", CPU, 1, 5),
  ...pytorch("inference32", 1, 5),
  ...parallel("parallel", 50),
  ...parallel("parallel128", 15),
  ...ours("compile", ["cpu", "webgpu"], 0, 5),
];

/** One process with one thread and with two, and two processes with one: a pipeline, and shares of each batch. */
function parallel(benchmark: string, steps: number): Entry[] {
  const { batch } = benchmarks[benchmark]!;
  const timed = { benchmark, warmup: 2, steps };
  const ways = [
    ["alone", 1, 1, "none"],
    ["alone", 1, 2, "none"],
    ["modules", 2, 1, "none"],
    ["modules", 2, 1, "first"],
    ["data", 2, 1, "none"],
  ] as const;
  return [
    ...CPU.flatMap((device) =>
      ways.map(([layout, processes, threads, recompute]): Entry => ({
        ...timed,
        system: `localgrad, ${device}, ${layout}, ${processes} × ${threads}, ${recompute}`,
        command: inProcesses(
          processes,
          denoOn("cpu-onednn", "parallel.ts", device, layout, `${threads}`, `${batch}`, recompute), // may open MPI
        ),
      }))
    ),
    ...["nchw", "channels_last"].flatMap((mode) =>
      [1, 2].map((processes): Entry => ({
        ...timed,
        system: `pytorch, cpu, ${mode}, ${processes}`,
        command: ["python3", here("peers/ddp.py"), `${processes}`, mode, `${batch}`],
      }))
    ),
  ];
}

/** A command in so many processes, started by the `mpirun` of an installed MPI, or by the one on PATH. */
function inProcesses(processes: number, [program, ...args]: Entry["command"]): Entry["command"] {
  if (processes === 1) return [program, ...args];
  const [mpich, openMpi] = ["LOCALGRAD_MPICH", "LOCALGRAD_OPENMPI"].map((name) => Deno.env.get(name));
  const prefix = mpich ?? openMpi;
  const isOpenMpi = mpich === undefined && openMpi !== undefined;
  const library = `LOCALGRAD_MPI=${prefix}/lib`;
  const flags = prefix === undefined
    ? []
    : isOpenMpi
    ? ["--bind-to", "none", "--allow-run-as-root", "-x", library]
    : ["-genv", ...library.split("=")];
  const mpirun = prefix === undefined ? "mpirun" : `${prefix}/bin/mpirun`;
  return [mpirun, ...flags, "-n", `${processes}`, program, ...args];
}

function ours(benchmark: string, devices: readonly string[], warmup: number, steps: number): Entry[] {
  const { workload, batch } = benchmarks[benchmark]!;
  return devices.map((device) => {
    const command = denoOn(device, "ours.ts", workload, device, `${batch}`);
    return { benchmark, system: `localgrad, ${device}`, command, warmup, steps };
  });
}

function pytorch(benchmark: string, warmup: number, steps: number, modes = MODES): Entry[] {
  const { workload, batch } = benchmarks[benchmark]!;
  return modes.map((mode) => ({
    benchmark,
    system: `pytorch, cpu, ${mode}`,
    command: ["python3", here("peers/pytorch.py"), workload, mode, `${batch}`],
    warmup,
    steps,
  }));
}

function peer(system: string, script: string, warmup: number, steps: number): Entry {
  const device = system.split(", ")[1]!;
  const command = denoOn(device, `peers/${script}`, device, `${benchmarks["resnet8"]!.batch}`);
  return { benchmark: "resnet8", system, command, warmup, steps };
}

/** A command that runs a script of this folder, with what the device needs. */
export function denoOn(device: string, script: string, ...args: string[]): Entry["command"] {
  const allowed = ["--allow-read", "--allow-env", "--allow-sys"];
  if (device === "cpu-onednn" || device === "cpu-bf16") allowed.push("--allow-ffi");
  return [Deno.execPath(), "run", ...allowed, "--quiet", here(script), ...args];
}

/** A path in this folder. */
export function here(path: string): string {
  return new URL(path, import.meta.url).pathname;
}
