/**
 * Opens devices: finds the backends of this machine and chooses one.
 *
 * @module
 */

import { agreeOn } from "../backends/agreement.ts";
import type { Missing, Opened } from "../backends/backend.ts";
import type { Communicator, Communicators, Processes } from "../backends/communicator.ts";
import { cpuEngine } from "../backends/cpu/engine_name.ts";
import { enginesNamed } from "../backends/cuda/engine_names.ts";
import { variable } from "../base/environment.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject, expectOptions, expectWhole, shown } from "../base/expect.ts";
import type { Target } from "../compile/plan.ts";
import { Device } from "./arrays.ts";

/** The name of a backend. */
export type BackendName = "cuda" | "webgpu" | "cpu" | "reference";

/** An argument of {@link open}: a backend, or `auto` for the best available. */
export type DeviceName = BackendName | "auto";

/** Options of {@link open}. */
export interface OpenOptions {
  /**
   * Threads of the CPU backend, including the calling one: 1 to 1024. Default: the environment variable
   * `LOCALGRAD_THREADS`, else the number of cores, but at most `OMP_NUM_THREADS`. Results do not depend on it.
   */
  threads?: number;
  /**
   * The engine for convolutions and matrix products on the CPU: WebAssembly, oneDNN, or `auto`: oneDNN where libraries may
   * be opened (`--allow-ffi`) and a usable one is found, else WebAssembly. Default: the environment variable
   * `LOCALGRAD_CPU`, else `auto`. {@link Device.choice} says which it is and why. Results depend on it in their last bits.
   */
  engine?: "auto" | "wasm" | "onednn";
  /** Lets CUDA capture a program as a graph and launch it as one; default true. Set `false` for debugging. */
  graphs?: boolean;
  /**
   * Lets CUDA run two steps of a program at the same time, where neither needs the other, as two branches of its graph;
   * default false. For small batches, whose steps are short. It takes more memory: `peakInOrder` of a plan's memory is the
   * peak without it. Programs that exchange data with other processes run in order.
   */
  overlap?: boolean;
  /**
   * Lets CUDA wait for the card after every launch, without graphs, so that an error names the launch that failed; default
   * false. Slow; for debugging.
   */
  syncLaunches?: boolean;
  /**
   * How CUDA chooses among cuDNN's engines for each convolution. `timed` (the default) runs the first eight that may be
   * taken in the first step, and takes the fastest; times are kept in the user's cache where that may be written. The
   * choice may be another on another card or in another cache, and so may the last bits of results. `heuristic` takes the
   * first that cuDNN offers: the same bits on every card of a kind with the same cuDNN.
   */
  engines?: "timed" | "heuristic";
  /**
   * The groups of processes that programs on the device exchange data with, by name; default none. On `cuda`
   * they exchange NCCL's ids, and NCCL the data.
   */
  communicators?: Communicators;
  /**
   * The processes of a run, from `processes.join`, in place of `communicators`: programs exchange data in their groups,
   * the CPU backend has their `threads` by default, and trainers divide the work between them. All of them open the same
   * device. Default one process.
   */
  processes?: Processes;
}

/** Options of {@link target}. */
export interface TargetOptions {
  /** Threads of the CPU backend, each of which has scratch memory; default: as many as {@link open} takes. */
  threads?: number;
  /**
   * The engine for convolutions and matrix products on the CPU. Default: `wasm`. `onednn` loads the library, which alone
   * knows the sizes of its formats and scratch memory, so it has to be there, and needs `--allow-ffi`.
   */
  engine?: "wasm" | "onednn";
  /** On `cuda`, steps overlap, as {@link OpenOptions.overlap} says; default false. */
  overlap?: boolean;
  /** The number of processes of each group that programs exchange data with, by name; default none. */
  groups?: { readonly [group: string]: number };
}

/** Options of {@link open}, and the groups whose neighbours send each other messages; default all. */
interface Opening extends OpenOptions {
  messages?: readonly string[];
}

/** Opens and describes each backend. A backend is loaded only when it is used. */
const backends: {
  readonly [B in BackendName]: {
    readonly open: (options: Opening) => Promise<Opened>;
    readonly target: (options: TargetOptions) => Promise<Target | Target & Disposable | Missing>;
  };
} = {
  cuda: {
    open: async ({ graphs, overlap, syncLaunches, engines, communicators = {}, messages }) =>
      (await import("../backends/cuda/backend.ts")).openCuda({
        ...(graphs === undefined ? {} : { graphs }),
        ...(overlap === undefined ? {} : { overlap }),
        ...(syncLaunches === undefined ? {} : { syncLaunches }),
        ...(engines === undefined ? {} : { engines }),
        communicators,
        ...(messages === undefined ? {} : { messages }),
      }),
    target: async ({ overlap = false }) => {
      const { cudaTarget, overlappingTarget } = await import("../backends/cuda/target.ts");
      return overlap ? overlappingTarget : cudaTarget;
    },
  },
  webgpu: {
    open: async ({ communicators }) =>
      (await import("../backends/webgpu/backend.ts")).openWebgpu(undefined, communicators),
    target: async () => (await import("../backends/webgpu/target.ts")).webgpuTarget,
  },
  cpu: {
    open: async ({ threads, engine, communicators = {} }) => {
      const { openCpu } = await import("../backends/cpu/backend.ts");
      return openCpu({
        ...(threads === undefined ? {} : { threads }),
        engine: cpuEngine(engine),
        communicators,
      });
    },
    target: async ({ threads, engine = "wasm" }) => {
      const { cpuTarget } = await import("../backends/cpu/target.ts");
      const { defaultThreads, MOST_THREADS } = await import("../backends/cpu/thread_count.ts");
      const count = threads ?? defaultThreads().threads;
      expectWhole("threads", count, 1, MOST_THREADS);
      if (cpuEngine(engine) !== "onednn") return cpuTarget(count);
      return (await import("../backends/cpu/onednn/target.ts")).openOnednnTarget(count);
    },
  },
  reference: {
    open: async ({ communicators }) =>
      (await import("../backends/reference/backend.ts")).openReference(communicators),
    target: async () => (await import("../backends/reference/target.ts")).referenceTarget,
  },
};

/** The names of the backends, in the order in which `auto` tries them. */
export const names: readonly BackendName[] = ["cuda", "webgpu", "cpu", "reference"];

/**
 * Opens a device. `auto` takes CUDA if there are a card and its libraries; else WebGPU if there is a hardware adapter;
 * else the CPU backend, which is faster than a software adapter. For several processes it passes over WebGPU.
 *
 * @param name Default: the environment variable `LOCALGRAD_DEVICE` if reading it is allowed, else `auto`.
 * @throws {LocalgradError} if a named backend is not available; the message says what is missing and what would help.
 *
 * @example
 * ```ts
 * import { devices } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("cpu", { threads: 1 });
 * using x = device.zeros([2, 3]);
 * assertEquals(x.shape, [2, 3]);
 * ```
 */
export async function open(name?: DeviceName, options: OpenOptions = {}): Promise<Device> {
  expectOptions("devices.open", options, {
    threads: "number?",
    engine: "string?",
    graphs: "boolean?",
    overlap: "boolean?",
    syncLaunches: "boolean?",
    engines: "string?",
    communicators: "object?",
    processes: "object?",
  });
  const { engines, processes } = options;
  enginesNamed(engines);
  if (processes !== undefined) return await openFor(processes, name, options);
  return await openWith(options.communicators ?? {}, name, options);
}

/** The name of a device to open, by default the environment's. */
function wantedName(name: DeviceName | undefined): string {
  return name === undefined ? variable("LOCALGRAD_DEVICE") ?? "auto" : name;
}

/** Opens a device for one of several processes. */
async function openFor(
  processes: Processes,
  name: DeviceName | undefined,
  { communicators, ...options }: OpenOptions,
): Promise<Device> {
  expectObject("devices.open: processes", processes, {
    rank: "number",
    size: "number",
    layout: "object",
    place: "object",
    threads: "number?",
    communicators: "object",
    abandon: "function",
  });
  if (communicators !== undefined) {
    throw new LocalgradError("devices.open: processes have communicators of their own; give one of them");
  }
  const threads = options.threads ?? processes.threads;
  const own = { ...options, ...(threads === undefined ? {} : { threads }) };
  if (processes.size === 1) return await openWith({}, name, own);
  // Before cards are connected, for which one would wait for ever.
  agreeOn(processes.communicators.world, "devices.open: the", { device: wantedName(name) });
  return await openWith({ ...processes.communicators }, name, own, processes);
}

async function openWith(
  communicators: Communicators,
  name: DeviceName | undefined,
  given: OpenOptions,
  processes?: Processes,
): Promise<Device> {
  const options: Opening = {
    ...{ ...given, communicators },
    ...(processes === undefined ? {} : { messages: ["modules"] }), // the others only reduce and broadcast
  };
  for (const [group, communicator] of Object.entries(communicators)) expectCommunicator(group, communicator);
  const wanted = wantedName(name);
  if (wanted !== "auto") {
    const backend = backends[known(wanted)];
    const opened = await backend.open(options);
    if ("reason" in opened) refuse(wanted, opened);
    return new Device(opened.backend, `${wanted} (asked for): ${described(opened)}`, processes);
  }
  const passed: string[] = [];
  const exchanges = Object.values(communicators).some(({ size }) => size > 1);
  for (const candidate of names) {
    if (exchanges && candidate === "webgpu") {
      passed.push("webgpu: what it exchanges with other processes takes 11 ms to read");
      continue;
    }
    const opened = await backends[candidate].open(options);
    if ("reason" in opened) {
      // The slow reference must not take the place of an engine that was demanded.
      if (candidate === "cpu" && cpuEngine(options.engine) === "onednn") refuse(candidate, opened);
      passed.push(`${candidate}: ${opened.reason}`);
    } else if (isSoftware(opened)) {
      passed.push(`${candidate}: only a software adapter, slower than the CPU backend`);
      await opened.backend.close();
    } else {
      return new Device(opened.backend, `${candidate}: ${described(opened, passed)}`, processes);
    }
  }
  throw new LocalgradError(`no device is available: ${passed.join("; ")}`);
}

/**
 * Finds out whether a backend is available, by opening and closing it.
 *
 * @returns A description of its device, or the reason why it is not available and a remedy.
 * @throws {LocalgradError} if there is no backend of this name.
 */
export async function probe(
  name: BackendName,
): Promise<
  { available: true; description: string; software: boolean } | {
    available: false;
    reason: string;
    remedy: string;
  }
> {
  const opened = await backends[known(name)].open({});
  if ("reason" in opened) return { available: false, ...opened };
  const description = described(opened);
  const software = isSoftware(opened);
  await opened.backend.close();
  return { available: true, description, software };
}

/**
 * The properties of a backend on which plans depend, without opening it. For WebGPU they are the minimum limits of its
 * specification. With oneDNN the library stays open until the target is disposed of; other targets hold nothing.
 *
 * @throws {LocalgradError} if there is no backend of this name, or oneDNN is asked for and cannot be used.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const run = { model: models.resnet8({ classes: 10 }), method: local.endToEnd(), optimizer: optim.sgd(), batch: 8 };
 * const scratch = async (threads: number) => {
 *   using target = await devices.target("cpu", { threads });
 *   return local.memory({ ...run, target }).method.breakdown.scratch ?? 0;
 * };
 * assertEquals(await scratch(4), 4 * await scratch(1)); // that of each thread
 * ```
 */
export async function target(name: BackendName, options: TargetOptions = {}): Promise<Target & Disposable> {
  expectOptions("devices.target", options, {
    threads: "number?",
    engine: "string?",
    overlap: "boolean?",
    groups: "object?",
  });
  const { groups } = options;
  for (const [group, size] of Object.entries(groups ?? {})) {
    expectWhole(`devices.target: group ${group}`, size);
  }
  const found = await backends[known(name)].target(options);
  if ("reason" in found) refuse(name, found);
  return { [Symbol.dispose]() {}, ...found, ...(groups === undefined ? {} : { groups }) };
}

/** A device for people, with what was passed over for it. */
function described({ backend, without }: Exclude<Opened, Missing>, passed: readonly string[] = []): string {
  const all = without === undefined ? passed : [...passed, `${without.reason}; ${without.remedy}`];
  return all.length === 0 ? backend.description : `${backend.description} (not ${all.join("; not ")})`;
}

function refuse(name: string, { reason, remedy }: Missing): never {
  throw new LocalgradError(`no ${name} device: ${reason}; ${remedy}`);
}

function expectCommunicator(group: string, communicator: Communicator): void {
  const who = `devices.open: the communicator "${group}"`;
  expectObject(who, communicator, {
    rank: "number",
    size: "number",
    abandoned: "boolean?",
    allReduce: "function",
    broadcast: "function",
    send: "function",
    receive: "function",
  });
  expectWhole(`${who}: size`, communicator.size);
  expectWhole(`${who}: rank`, communicator.rank, 0, communicator.size - 1);
}

function isSoftware(opened: Opened): boolean {
  return "backend" in opened && opened.backend.software === true;
}

function known(name: string): BackendName {
  const found = names.find((each) => each === name);
  if (found !== undefined) return found;
  throw new LocalgradError(`there is no device ${shown(name)}; choose auto, ${names.join(", ")}`);
}
