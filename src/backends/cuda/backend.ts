import { NO_CARD } from "../../../ffi/doctor.ts";
import { checkDriver, type Driver, driverStatus, OLDEST_ARCHITECTURE } from "../../../ffi/driver.ts";
import { thisHost } from "../../../ffi/host.ts";
import { type CudaLibraries, openLibraries } from "../../../ffi/library.ts";
import { checkCudnn, type Cudnn } from "../../../ffi/cudnn.ts";
import { outI32, outU64 } from "../../../ffi/memory.ts";
import { localRankOf } from "../../../ffi/mpi_launcher.ts";
import { LibraryError } from "../../../ffi/status.ts";
import type { Plan, ProductPrecision, Target } from "../../compile/plan.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Nccl } from "../../../ffi/nccl.ts";
import { openNccl } from "../../../ffi/nccl_library.ts";
import type { DType } from "../../trace/dtype.ts";
import type { Backend, DeviceBuffer, DriverMemory, Executable, Opened } from "../backend.ts";
import { type Communicators, groupSizes } from "../communicator.ts";
import { CudaBuffer } from "./buffer.ts";
import { Arena } from "./arena.ts";
import { cacheFolder } from "../../base/cache_folder.ts";
import { Card, type CardFacts } from "./card.ts";
import { type Convolver, convSpecOf } from "./conv.ts";
import { GraphConvolver } from "./conv_graph.ts";
import { EngineTimer } from "./engine_timer.ts";
import type { Engines } from "./engine_names.ts";
import { TimedEngines } from "./engine_times.ts";
import { CudaExecutable } from "./executable.ts";
import { LegacyConvolver } from "./legacy/conv.ts";
import { lowerPlan } from "./lower.ts";
import { matmulSpecOf } from "./matmul.ts";
import { MatrixProducts } from "./matmul_cublaslt.ts";
import { Modules } from "./modules.ts";
import { Groups } from "./nccl/groups.ts";
import { Profiler } from "./profiler.ts";
import { Readbacks } from "./readbacks.ts";
import { Recording } from "./recording.ts";
import { callsOf, sourceOf } from "./source.ts";
import { precisionsOf, targetOf } from "./target.ts";
import { Uploads } from "./uploads.ts";

/** Options of {@link openCuda}. */
export interface CudaOptions {
  /** Precision of products and convolutions of f32; default: `tf32` from sm_80 on, as in PyTorch's convolutions. */
  precision?: ProductPrecision;
  /** Captures the second run of each plan as a CUDA graph; default: true. */
  graphs?: boolean;
  /** Captures steps that do not need each other on two branches of a graph; default: false. */
  overlap?: boolean;
  /** Waits for the card after every launch, without graphs, so that an error names its launch; default: false. */
  syncLaunches?: boolean;
  /** cuDNN's interface for convolutions: `graph` (the default), or `plain`, the legacy API. */
  convolutions?: "graph" | "plain";
  /**
   * How the graph interface chooses among cuDNN's engines: `timed` (the default) runs some and takes the fastest;
   * `heuristic` takes the first that cuDNN's heuristics offer, which is the same one on every card of a kind.
   */
  engines?: Engines;
  /** Folder for times of engines, or false to keep none; default: `localgrad/engines` in the user's cache, if permitted. */
  engineTimes?: string | false;
  /** Seconds for timing engines; default 20. */
  engineBudget?: number;
  /** Times each launch separately, which excludes graphs; default: false. See {@link Profiler}. */
  profile?: boolean;
  /** Folder for compiled kernels, or false to keep none; default: `localgrad/cubin` in the user's cache, if permitted. */
  cubins?: string | false;
  /** The groups of processes that programs exchange data with; default none. */
  communicators?: Communicators;
  /** The names of those groups whose neighbours send each other messages; default all. */
  messages?: readonly string[];
}

/** Runs plans on an NVIDIA card through libcuda, NVRTC, cuBLASLt and cuDNN, called by FFI. */
export class CudaBackend implements Backend {
  readonly name = "cuda";
  readonly description: string;
  readonly target: Target;
  /** Times of launches, if {@link CudaOptions.profile} asked for them. */
  readonly profiler: Profiler | undefined;
  readonly #executables = new Map<CudaExecutable, string>();
  readonly #card: Card;
  readonly #precision: ProductPrecision;
  readonly #graphs: boolean;
  /** A second stream, if work is to overlap. */
  readonly #second: bigint | undefined;
  readonly #uploads: Uploads;
  readonly #readbacks: Readbacks;
  readonly #modules: Modules;
  readonly #products: MatrixProducts;
  readonly #cudnnHandle: bigint;
  readonly #convolver: Convolver;
  readonly #closing: (() => void)[] = [];
  readonly #buffers = new Set<DeviceBuffer>();
  readonly #arena: Arena;
  readonly #groups: Groups | undefined;
  #closed = false;

  constructor(
    libraries: Required<Pick<CudaLibraries, "driver" | "nvrtc" | "cublasLt" | "cudnn">> & {
      readonly nccl?: Nccl;
    },
    options: CudaOptions,
  ) {
    const { driver, nvrtc, cublasLt, cudnn, nccl } = libraries;
    const { communicators = {}, overlap = false } = options;
    this.#card = new Card(driver, options.syncLaunches, exchanges(communicators) ? cardOf(driver) : 0);
    this.#closing.push(() => this.#card.close());
    this.#arena = new Arena(this.#card);
    try {
      const { name, architecture, totalBytes } = this.#card.facts;
      if (architecture < OLDEST_ARCHITECTURE) {
        throw new LocalgradError(
          `cuda: ${name} is sm_${architecture}; sm_${OLDEST_ARCHITECTURE} is needed`,
        );
      }
      const precisions = precisionsOf(architecture);
      this.#precision = options.precision ?? precisions[0];
      this.#graphs = options.profile !== true && !this.#card.syncLaunches && (options.graphs ?? true);
      this.description = `${name} (sm_${architecture}) through CUDA`;
      this.target = {
        ...targetOf([...new Set([this.#precision, ...precisions])], totalBytes, { overlap }),
        groups: groupSizes(communicators),
      };
      if (nccl !== undefined && exchanges(communicators)) {
        this.#groups = this.#keep(new Groups(nccl, this.#card, communicators, options.messages));
      }
      if (overlap) {
        const second = this.#second = this.#card.createStream();
        this.#closing.push(() => driver.cuStreamDestroy_v2(second));
      }
      this.#uploads = this.#keep(new Uploads(this.#card));
      this.#readbacks = this.#keep(new Readbacks(this.#card));
      if (options.profile === true) this.profiler = this.#keep(new Profiler(this.#card));
      this.#modules = this.#keep(new Modules(this.#card, nvrtc, options.cubins ?? cacheFolder("cubin")));
      this.#products = this.#keep(new MatrixProducts(cublasLt, () => this.#card.throwFault()));
      const out = outU64();
      checkCudnn(cudnn, cudnn.cudnnCreate(out.buffer), "opening a handle");
      this.#cudnnHandle = out.value;
      this.#closing.push(() => cudnn.cudnnDestroy(this.#cudnnHandle));
      checkCudnn(cudnn, cudnn.cudnnSetStream(this.#cudnnHandle, this.#card.stream), "setting the stream");
      this.#convolver = this.#keep(
        options.convolutions === "plain"
          ? new LegacyConvolver(cudnn, this.#cudnnHandle, this.#card)
          : new GraphConvolver(
            cudnn,
            this.#cudnnHandle,
            this.#card,
            options.engines === "heuristic" ? undefined : this.#timedEngines(cudnn, options),
          ),
      );
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  /** What times cuDNN's engines; undefined if the driver cannot. */
  #timedEngines(cudnn: Cudnn, { engineTimes, engineBudget, communicators = {} }: CudaOptions) {
    const { cuEventElapsedTime_v2: elapsedTime } = this.#card.driver;
    if (elapsedTime === null) return undefined;
    // Freeing memory may wait for messages of other processes.
    const trims = !exchanges(communicators);
    const timer = this.#keep(new EngineTimer(this.#card, elapsedTime, { budget: engineBudget, trims }));
    return new TimedEngines(timer, {
      card: this.#card.facts,
      cudnn: Number(cudnn.cudnnGetVersion()),
      folder: engineTimes ?? cacheFolder("engines"),
    });
  }

  #keep<T extends { close(): void }>(part: T): T {
    this.#closing.push(() => part.close());
    return part;
  }

  /** Closes the parts that the constructor opened, newest first. */
  #end(): void {
    this.#closed = true;
    for (const close of this.#closing.splice(0).reverse()) close();
  }

  get liveBuffers(): number {
    return this.#card.liveBuffers;
  }

  get liveBytes(): number {
    return this.#card.liveBytes;
  }

  /** The card's properties. */
  get facts(): CardFacts {
    return this.#card.facts;
  }

  /** The captured graphs: the name of each plan and the number of nodes, which are launches and copies. */
  get graphs(): readonly { readonly plan: string; readonly nodes: number }[] {
    const graphs = Array.from(
      this.#executables,
      ([{ graphNodes }, plan]) => ({ plan, nodes: graphNodes ?? 0 }),
    );
    return graphs.filter(({ nodes }) => nodes > 0);
  }

  driverMemory(): DriverMemory {
    const { free, total } = this.#card.memory();
    return { usedBytes: total - free, takenBytes: this.#card.reservedBytes };
  }

  allocate(bytes: number, _dtype: DType): DeviceBuffer {
    const address = this.#card.allocate(bytes);
    try {
      this.#uploads.join(); // an upload to a buffer freed a moment ago may still be in flight here
      this.#card.clear(address, bytes);
    } catch (error) {
      this.#card.free(address);
      throw error;
    }
    const buffer = new CudaBuffer(this, bytes, address);
    this.#buffers.add(buffer);
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    const { address } = this.#own(buffer);
    this.#buffers.delete(buffer);
    this.#card.free(address);
  }

  write(buffer: DeviceBuffer, data: Uint8Array): void {
    const own = this.#own(buffer);
    if (data.byteLength > own.bytes) {
      throw new Error(`cuda: ${data.byteLength} bytes do not fit a buffer of ${own.bytes}`);
    }
    this.#uploads.write(own, data);
  }

  read(buffer: DeviceBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const own = this.#own(buffer);
    this.#uploads.join();
    own.copied = false;
    return this.#readbacks.read(own.address, bytes);
  }

  compile(plan: Plan, precision: ProductPrecision = this.#precision): Executable {
    const launches = lowerPlan(
      plan,
      (instruction, { kind }, scratch) =>
        instruction.op === "matmul"
          ? this.#products.fuses(matmulSpecOf(instruction, plan.values, precision, kind), scratch)
          : this.#convolver.fuses(convSpecOf(instruction, plan.values, precision, kind), scratch),
    );
    const source = sourceOf(callsOf(launches));
    const module = source.names.length > 0 ? this.#modules.load(source, plan.name) : undefined;
    const constants: bigint[] = [];
    let recording: Recording | undefined;
    try {
      for (const { data } of plan.constants) {
        const constant = new CudaBuffer(this, data.byteLength, this.#card.allocate(data.byteLength));
        constants.push(constant.address);
        this.#uploads.write(constant, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      }
      recording = new Recording(
        {
          card: this.#card,
          products: this.#products,
          convolver: this.#convolver,
          precision,
          ...(this.#second === undefined ? {} : { second: this.#second }),
          ...(this.#groups === undefined ? {} : { groups: this.#groups }),
          ...(this.profiler === undefined ? {} : { profiler: this.profiler }),
        },
        plan,
        launches,
        module === undefined ? [] : source.names.map((name) => module.function(name)),
      );
      this.#arena.reserve(plan.arenaBytes, plan.name); // last, so that a plan refused above does not enlarge the arena
      const executable = new CudaExecutable({
        ...{ card: this.#card, uploads: this.#uploads, arena: this.#arena },
        ...{ plan, constants, recording, graphs: this.#graphs },
        own: (buffer) => this.#own(buffer),
        release: () => {
          module?.release();
          this.#executables.delete(executable);
        },
      });
      this.#executables.set(executable, plan.name);
      return executable;
    } catch (error) {
      recording?.dispose();
      constants.forEach((constant) => this.#card.free(constant));
      module?.release();
      throw error;
    }
  }

  kernelText(plan: Plan): string {
    return sourceOf(callsOf(lowerPlan(plan))).text;
  }

  async finish(): Promise<void> {
    await this.#readbacks.idle();
    this.#uploads.join();
    await this.#groups?.settled();
    this.#card.synchronize();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#readbacks.idle();
    try {
      this.#uploads.join();
    } catch { /* the card may be lost; close the rest all the same */ }
    this.#card.drain();
    this.#buffers.clear();
    this.#end();
  }

  #own(buffer: DeviceBuffer): CudaBuffer {
    if (buffer instanceof CudaBuffer && buffer.owner === this && this.#buffers.has(buffer)) return buffer;
    throw new Error("cuda: this buffer was freed or belongs to another backend");
  }
}

/** The libraries of this process, opened once and never closed. */
let libraries: CudaLibraries | undefined;

/** Opens the first card, or returns what is missing and the remedy. */
export function openCuda(options: CudaOptions = {}): Promise<Opened> {
  libraries ??= openLibraries({ needDriver: true });
  const { driver, nvrtc, cublasLt, cudnn, reports } = libraries;
  if (driver === undefined || nvrtc === undefined || cublasLt === undefined || cudnn === undefined) {
    const report = reports.find(({ problem }) => problem !== undefined);
    const { problem = "a library of CUDA is missing", remedy = "see `localgrad doctor`" } = report ?? {};
    libraries = undefined; // so that the next attempt searches again
    return Promise.resolve({ reason: problem, remedy });
  }
  const { nccl, report } = exchanges(options.communicators ?? {}) ? openNccl() : {};
  if (report?.problem !== undefined) {
    const reason = `several processes on cuda need NCCL: ${report.problem}`;
    return Promise.resolve({ reason, remedy: report.remedy ?? "see `localgrad doctor`" });
  }
  try {
    const found = { driver, nvrtc, cublasLt, cudnn, ...(nccl === undefined ? {} : { nccl }) };
    return Promise.resolve({ backend: new CudaBackend(found, options) });
  } catch (error) {
    if (!(error instanceof LocalgradError)) throw error;
    const none = error instanceof LibraryError && error.status === driverStatus.CUDA_ERROR_NO_DEVICE;
    return Promise.resolve({
      reason: none ? "the driver finds no card" : error.message,
      remedy: none ? NO_CARD : "see `localgrad doctor`, or use the device webgpu or cpu",
    });
  }
}

/** True if a device with these groups exchanges data: any has more than one process. */
function exchanges(communicators: Communicators): boolean {
  return Object.values(communicators).some(({ size }) => size > 1);
}

/** The card of this process, among those of its machine that it sees: NCCL refuses two processes on one card. */
function cardOf(driver: Driver): number {
  const count = outI32();
  checkDriver(driver, driver.cuInit(0), "starting the driver");
  checkDriver(driver, driver.cuDeviceGetCount(count.buffer), "counting the cards");
  return (localRankOf(thisHost()) ?? 0) % Math.max(count.value, 1);
}
