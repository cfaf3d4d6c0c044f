/**
 * Builds the simulated device (tests/cuda/sim) with g++ and opens it in place of CUDA's libraries. It tests correctness
 * and says nothing about speed.
 *
 * @module
 */
import { createHash } from "node:crypto";
import * as cublas from "../../ffi/cublas.ts";
import * as cudnn from "../../ffi/cudnn_constants.ts";
import { cString, textOf } from "../../ffi/memory.ts";
import { openLibraries } from "../../ffi/library.ts";
import { thisHost } from "../../ffi/host.ts";
import { ncclDescription, openNccl } from "../../ffi/nccl_library.ts";
import { libraries as described, libraryNames } from "../../ffi/search.ts";
import { CudaBackend, type CudaOptions } from "../../src/backends/cuda/backend.ts";
import type { Opened } from "../../src/backends/backend.ts";

/** The functions by which tests control the simulated device. */
const symbols = {
  sim_fail: { parameters: ["buffer", "i32", "i32"], result: "void" },
  sim_memory: { parameters: ["u64"], result: "void" },
  sim_count: { parameters: ["buffer"], result: "i64" },
  sim_reverse: { parameters: ["i32"], result: "void" },
  sim_hurry: { parameters: ["i32"], result: "void" },
  sim_engine: { parameters: ["i64", "f64"], result: "void" },
  sim_engine_runs: { parameters: ["i64"], result: "i64" },
  sim_report: { parameters: ["buffer", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const folder = new URL("./sim/", import.meta.url).pathname;
const cache = new URL("../../.cache/", import.meta.url).pathname;

/** The constants of cuBLASLt and cuDNN in the bindings, as C. */
function constants(): string {
  const groups: readonly Readonly<Record<string, number>>[] = [
    ...Object.values(cudnn),
    ...[
      cublas.cublasType,
      cublas.matmulAttribute,
      cublas.epilogue,
      cublas.layoutAttribute,
      cublas.preferenceAttribute,
    ],
  ];
  return groups.flatMap((group) => Object.entries(group)).map(([name, value]) =>
    `static const int ${name} = ${value};\n`
  ).join("");
}

/**
 * The library in a new folder, which the caller removes; undefined without g++. It is built once and cached until its
 * sources change. Each test file gets a copy, and so a device of its own.
 */
function build(): string | undefined {
  const into = Deno.makeTempDirSync({ prefix: "localgrad-sim-" });
  const library = `${into}/sim.so`;
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  const sources = names.filter((name) => name.endsWith(".cpp")).map((name) => `${folder}${name}`);
  const flags = [
    "-std=c++17",
    "-O2",
    "-march=native",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-pthread",
  ];
  const hash = createHash("sha256").update([...flags, constants()].join("\n"));
  for (const name of names) hash.update(name).update(Deno.readFileSync(`${folder}${name}`));
  const kept = `${cache}simulated-${hash.digest("hex").slice(0, 16)}.so`;
  try {
    Deno.copyFileSync(kept, library);
    return library;
  } catch { /* to be built */ }
  try {
    Deno.writeTextFileSync(`${into}/constants.h`, `#pragma once\n${constants()}`);
    const host = Deno.readTextFileSync(`${folder}host.h`);
    Deno.writeTextFileSync(`${into}/host_text.h`, `static const char HOST[] = R"host(${host})host";\n`);
    const { success, stderr } = new Deno.Command("g++", {
      args: [
        ...flags,
        ...[`-I${into}`, "-Wl,-soname,liblocalgrad-sim.so"],
        ...["-o", library, ...sources, "-ldl"],
      ],
    }).outputSync();
    if (!success) {
      throw new Error(`the simulated device does not build:\n${new TextDecoder().decode(stderr)}`);
    }
  } catch (error) {
    Deno.removeSync(into, { recursive: true });
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const part = `${kept}.${Deno.pid}.part`; // renamed when complete
  Deno.mkdirSync(cache, { recursive: true });
  Deno.copyFileSync(library, part);
  Deno.renameSync(part, kept);
  return library;
}

const path = build();
const control = path === undefined ? undefined : Deno.dlopen(path, symbols).symbols;

/** The environment in which the search finds the simulated device, whatever libraries this machine has. */
export const environment: Readonly<Record<string, string>> = path === undefined ? {} : Object.fromEntries(
  [...libraryNames.map((name) => described[name]), ncclDescription].map(({ override }) => [override, path]),
);

const host = { ...thisHost(), env: (name: string) => environment[name] };
const libraries = path === undefined ? undefined : { ...openLibraries({ host }), nccl: openNccl(host).nccl };

// Kernels that are equal are compiled once: for this file, or for a whole run whose folder the environment names.
const KERNELS = "LOCALGRAD_SIM_KERNELS";
const own = path?.replace(/\/[^/]*$/, "");
const shared = Deno.env.has(KERNELS);
if (own !== undefined && !shared) Deno.env.set(KERNELS, own);
globalThis.addEventListener("unload", () => {
  if (own === undefined) return;
  if (!shared) Deno.env.delete(KERNELS); // files share the environment of their process
  Deno.removeSync(own, { recursive: true });
});

/** Opens the backend on the simulated device. */
export function openSimulated(options: CudaOptions = {}): Promise<Opened> {
  if (libraries === undefined) {
    return Promise.resolve({
      reason: "there is no g++ to build the simulated device with",
      remedy: "install g++",
    });
  }
  const { driver, nvrtc, cublasLt, cudnn, nccl } = libraries;
  if (!driver || !nvrtc || !cublasLt || !cudnn || !nccl) {
    throw new Error(JSON.stringify(libraries.reports, undefined, 2));
  }
  return Promise.resolve({
    backend: new CudaBackend({ driver, nvrtc, cublasLt, cudnn, nccl }, {
      ...{ cubins: false, engines: "heuristic", engineTimes: false },
      ...options,
    }),
  });
}

/**
 * Makes the `after`-th call of a kind fail, and those that follow it up to `times`: `alloc`, `launch`, `lost` … (see the
 * uses of `fails()` in sim). 0 ends it. By default allocations keep failing, and all else fails once.
 */
export function fail(what: string, after: number, times: number = what === "alloc" ? Infinity : 1): void {
  control!.sim_fail(cString(what), after, after === 0 ? 0 : times === Infinity ? -1 : times);
}

/** Sets the size of the device's memory. */
export function setMemory(bytes: number): void {
  control!.sim_memory(BigInt(bytes));
}

/** Makes one stream of devices opened from now on run its work at once: that of all work (0), or of uploads (1). */
export function hurry(stream: 0 | 1 | "turns" | undefined): void {
  control!.sim_hurry(stream === "turns" ? -2 : stream ?? -1);
}

/** Makes kernels run their blocks from the last to the first, or in order. */
export function reverse(on: boolean): void {
  control!.sim_reverse(on ? 1 : 0);
}

/**
 * Sets the microseconds that cuDNN's engines are said to take, by number; by default each takes 1. The device has two, the
 * first of which needs as much scratch as its image, and offers others after them if they have a time. Forgets the runs.
 */
export function setEngines(microseconds: Readonly<Record<number, number>>): void {
  control!.sim_engine(0n, -1);
  for (const [engine, time] of Object.entries(microseconds)) control!.sim_engine(BigInt(engine), time);
}

/** How often an engine ran, or was captured, since {@link setEngines}. */
export function engineRuns(engine: number): number {
  return Number(control!.sim_engine_runs(BigInt(engine)));
}

/** The current count of a kind: `allocations`, `launches`, `used` bytes …. */
export function count(what: string): number {
  return Number(control!.sim_count(cString(what)));
}

/** The live objects and the faults of the device; empty after a clean end. Clears injected failures. */
export function report(): string {
  const text = new Uint8Array(4096);
  control!.sim_report(text, text.length);
  return textOf(text);
}
