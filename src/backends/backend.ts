import type { Plan, ProductPrecision, Step, Target } from "../compile/plan.ts";
import type { DType } from "../trace/dtype.ts";

/**
 * The contract between the compiler and a backend. A backend knows plans and buffers; it knows nothing of autograd,
 * layers or training. All calls come from one thread. Work is done in the order in which it is issued; a read sees
 * every run and write issued before it.
 */
export interface Backend {
  /** `reference`, `cpu`, `webgpu` …. */
  readonly name: string;
  /** A description for people: "2 threads of WebAssembly SIMD", "llvmpipe (LLVM 15) through WebGPU". */
  readonly description: string;
  /**
   * What the last bits of its results depend on, for a run that is resumed: "cpu, WebAssembly". Default: its name and
   * description.
   */
  readonly arithmetic?: string;
  /** The properties that planning depends on. */
  readonly target: Target;
  /** True if the device emulates a GPU on the CPU, as llvmpipe does; `auto` passes over such a device. */
  readonly software?: boolean;
  /** The number of buffers allocated and not yet freed: data, constants, arena (with scratch memory). Zero after {@link close}. */
  readonly liveBuffers: number;
  /** The bytes of the live buffers. */
  readonly liveBytes: number;
  /** The driver's own count of the device's memory, on devices whose driver keeps one. */
  driverMemory?(): DriverMemory;
  /** Bytes of the process that are resident in memory, for devices whose memory is the process's own. */
  residentMemory?(): number;

  /**
   * Allocates zeroed memory for elements of `dtype`. Only `reference`, which stores every element as a float64, needs
   * the dtype; a run that writes a buffer gives it the dtype of the result.
   *
   * @throws {LocalgradError} with the code `tooLarge`, the bytes requested and the bytes available.
   */
  allocate(bytes: number, dtype: DType): DeviceBuffer;
  /** Frees a buffer; work already issued on it is unaffected. Freeing twice is an error. */
  free(buffer: DeviceBuffer): void;
  /** Copies host bytes to the start of a buffer. The source may be changed once this returns. */
  write(buffer: DeviceBuffer, data: Uint8Array): void;
  /** Copies the first `bytes` bytes of a buffer to the host. Concurrent reads are batched where that is cheaper. */
  read(buffer: DeviceBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>>;

  /**
   * Compiles a plan. Grows the arena, which all plans of the backend share, to `plan.arenaBytes`. `products` is the
   * precision of products of f32, where the target offers several.
   */
  compile(plan: Plan, products?: ProductPrecision): Executable;
  /** The kernels of a plan, as text for people. Needs no device. */
  kernelText?(plan: Plan): string;

  /** Waits until all issued work is done. */
  finish(): Promise<void>;
  /** Frees all memory and ends the backend's threads. */
  close(): Promise<void>;
}

/** Memory of a device as its driver counts it. */
export interface DriverMemory {
  /** Bytes in use on the device, by all programs. */
  readonly usedBytes: number;
  /**
   * Bytes that this backend has taken: its buffers, rounded up to the driver's granularity, and memory kept for reuse.
   * The rest of {@link usedBytes} is the context with its libraries, kernels and graphs, and other programs.
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
   * Runs the plan.
   *
   * @param inputs The program's inputs, in order.
   * @param outputs The buffers of its results, in order; `undefined` for a result with a donor (see `plan.donors`),
   * which is written into the donor's buffer.
   */
  run(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): void;
  /**
   * The launches of a run on these buffers, in order, for a profile: issuing all of them does what {@link run} does. They
   * are valid after a run of the plan, and until the next one of any plan. Absent where a backend has a profiler of its
   * own.
   */
  launches?(
    inputs: readonly DeviceBuffer[],
    outputs: readonly (DeviceBuffer | undefined)[],
  ): readonly PlanLaunch[];
  /** Frees what belongs to this plan alone: constants and pipelines. */
  dispose(): void;
}

/** One launch of a plan by itself. A step takes one or several; none if it computes nothing. */
export interface PlanLaunch {
  /** The step it belongs to. */
  readonly step: Step;
  /** The backend's name of its code. The first word tells the way of computing: `winograd 32,32,3 …`. */
  readonly code: string;
  /** Issues it; {@link Backend.finish} waits for it. */
  issue(): void;
}

/** The reason why something is not available, and a remedy. */
export interface Missing {
  /** The reason. */
  readonly reason: string;
  /** The remedy. */
  readonly remedy: string;
}

/**
 * The result of opening a backend: the backend, with the faster library that it has to do without, if any; or the reason
 * why there is none.
 */
export type Opened = { readonly backend: Backend; readonly without?: Missing } | Missing;
