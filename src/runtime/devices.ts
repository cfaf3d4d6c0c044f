/**
 * Opening a device: which backends there are on this machine, and which one to use.
 *
 * @module
 */

import type { Opened } from "../backends/backend.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectOptions, shown } from "../base/expect.ts";
import type { Target } from "../compile/plan.ts";
import { Device } from "./arrays.ts";

/** A backend's name. */
export type BackendName = "cuda" | "webgpu" | "cpu" | "reference";

/** What {@link open} accepts: a backend, or `auto` for the best there is. */
export type DeviceName = BackendName | "auto";

/** Options of {@link open}. */
export interface OpenOptions {
  /** Threads of the CPU backend, this one included; default: the machine's cores. Results do not depend on it. */
  threads?: number;
  /** Whether CUDA captures a program as a graph and launches it as one; default true. `false` is for debugging. */
  graphs?: boolean;
}

/** Backends in the order `auto` tries them; each is loaded only when it is asked for. */
const backends: {
  readonly [B in BackendName]: {
    readonly open: (options: OpenOptions) => Promise<Opened>;
    readonly target: () => Promise<Target>;
  };
} = {
  cuda: {
    open: async ({ graphs }) =>
      (await import("../backends/cuda/backend.ts")).openCuda(graphs === undefined ? {} : { graphs }),
    target: async () => (await import("../backends/cuda/target.ts")).cudaTarget,
  },
  webgpu: {
    open: async () => (await import("../backends/webgpu/backend.ts")).openWebgpu(),
    target: async () => (await import("../backends/webgpu/target.ts")).webgpuTarget,
  },
  cpu: {
    open: async (options) => (await import("../backends/cpu/backend.ts")).openCpu(options),
    target: async () => (await import("../backends/cpu/backend.ts")).cpuTarget,
  },
  reference: {
    open: async () => (await import("../backends/reference/backend.ts")).openReference(),
    target: async () => (await import("../backends/reference/backend.ts")).referenceTarget,
  },
};

/** The backends' names, in the order `auto` prefers them. */
export const names: readonly BackendName[] = Object.keys(backends) as BackendName[];

/**
 * Opens a device. `auto` (the default) takes CUDA where there are a card and its libraries, then WebGPU where there is
 * a hardware adapter, else the CPU backend, which is faster than a software adapter; the environment variable `LOCALGRAD_DEVICE` overrides it where reading it is
 * allowed. Raises a LocalgradError that says what is missing and what would help when a named backend is not there.
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
  expectOptions("devices.open", options, { threads: "number?", graphs: "boolean?" });
  const wanted = name === undefined ? await fromEnvironment() ?? "auto" : name;
  if (wanted !== "auto") {
    const opened = await backends[known(wanted)].open(options);
    if ("reason" in opened) {
      throw new LocalgradError(`no ${wanted} device: ${opened.reason}; ${opened.remedy}`);
    }
    return new Device(opened.backend, `${wanted} (asked for): ${opened.backend.description}`);
  }
  const passed: string[] = [];
  for (const candidate of names) {
    const opened = await backends[candidate].open(options);
    if ("reason" in opened) {
      passed.push(`${candidate}: ${opened.reason}`);
    } else if (isSoftware(opened)) {
      passed.push(`${candidate}: only a software adapter, slower than the CPU backend`);
      await opened.backend.close();
    } else {
      const why = passed.length > 0 ? ` (not ${passed.join("; not ")})` : "";
      return new Device(opened.backend, `${candidate}: ${opened.backend.description}${why}`);
    }
  }
  throw new LocalgradError(`no device at all: ${passed.join("; ")}`);
}

/** Whether a backend runs here, and on what, or why not; opens and closes it. */
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
  const { description } = opened.backend;
  const software = isSoftware(opened);
  await opened.backend.close();
  return { available: true, description, software };
}

/** What planning must know of a backend, without opening it: the spec's minimum limits for WebGPU. */
export function target(name: BackendName): Promise<Target> {
  return backends[known(name)].target();
}

function isSoftware(opened: Opened): boolean {
  return "backend" in opened && opened.backend.software === true;
}

function known(name: string): BackendName {
  if (typeof name === "string" && Object.hasOwn(backends, name)) return name as BackendName;
  throw new LocalgradError(`there is no device ${shown(name)}; choose auto, ${names.join(", ")}`);
}

async function fromEnvironment(): Promise<DeviceName | undefined> {
  const variable = "LOCALGRAD_DEVICE";
  const { state } = await Deno.permissions.query({ name: "env", variable });
  const value = state === "granted" ? Deno.env.get(variable) : undefined;
  if (value === undefined || value === "") return undefined;
  return value === "auto" ? "auto" : known(value);
}
