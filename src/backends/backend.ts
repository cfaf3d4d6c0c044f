import type { Plan, ProductPrecision, Target } from "../compile/plan.ts";
import type { DType } from "../trace/dtype.ts";

/**
 * The contract between the compiler and a backend. A backend knows plans and buffers; it knows nothing of autograd,
 * layers or training. Everything is called from one thread. Work is done in the order it was issued; a read sees
 * every run and write issued before it.
 */
export interface Backend {
  /** `reference`, `cpu`, `webgpu` …. */
  readonly name: string;
  /** What it runs on, for people: "2 threads of WebAssembly SIMD", "llvmpipe (LLVM 15) through WebGPU". */
  readonly description: string;
  /** What planning must know of it. */
  readonly target: Target;
  /** Whether it emulates a GPU on the CPU, as llvmpipe does; `auto` passes such a device over. */
  readonly software?: boolean;
  /** Buffers allocated and not yet freed: data, constants and arena. Zero after {@link close}. */
  readonly liveBuffers: number;
  /** Bytes of those. */
  readonly liveBytes: number;
  /** What the device's driver counts, where it has a count of its own. */
  driverMemory?(): DriverMemory;

  /**
   * Allocates zeroed memory for elements of `dtype`. Raises a LocalgradError that says how much was asked for and how
   * much there is. Only `reference`, which keeps every element as a float64, needs the dtype; a run that writes a
   * buffer gives it the dtype of the result.
   */
  allocate(bytes: number, dtype: DType): DeviceBuffer;
  /** Frees a buffer; work already issued on it is unaffected. Freeing twice is an error. */
  free(buffer: DeviceBuffer): void;
  /** Copies host bytes to the start of a buffer. The source may be changed once this returns. */
  write(buffer: DeviceBuffer, data: Uint8Array): void;
  /** Copies a buffer's first `bytes` bytes out. Concurrent reads are batched where that is cheaper. */
  read(buffer: DeviceBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>>;

  /**
   * Prepares a plan. Grows the one arena that all of the backend's plans share to `plan.arenaBytes`. `products` is how
   * products of f32 are computed, where the target's precisions leave a choice.
   */
  compile(plan: Plan, products?: ProductPrecision): Executable;
  /** The kernels a plan compiles to, as text a person can read, without needing a device. */
  kernelText?(plan: Plan): string;

  /** Waits until all issued work is done. */
  finish(): Promise<void>;
  /** Frees everything the backend holds and ends its threads. */
  close(): Promise<void>;
}

/** Memory of a device by the count of its driver. */
export interface DriverMemory {
  /** Bytes in use on the device, by everybody. */
  readonly usedBytes: number;
  /**
   * Bytes that this backend has of it: its buffers, rounded up to the driver's steps, and those kept for later. The rest
   * of {@link usedBytes} is the context with its libraries, kernels and graphs, and other programs.
   */
  readonly takenBytes: number;
}

/** Memory on a device. */
export interface DeviceBuffer {
  /** Its size. */
  readonly bytes: number;
}

/** A compiled plan. */
export interface Executable {
  /**
   * Runs the plan. `inputs` are the program's inputs in order; `outputs` its results in order, where a result with a
   * donor (see `plan.donors`) has `undefined`, its donor's buffer being written instead.
   */
  run(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): void;
  /** Frees what belongs to this plan alone (constants, pipelines). */
  dispose(): void;
}

/** What opening a backend gives: the backend, or why there is none here and what would change that. */
export type Opened = { readonly backend: Backend } | { readonly reason: string; readonly remedy: string };
