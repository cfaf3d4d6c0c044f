import { LocalgradError } from "../../base/errors.ts";
import { expectWhole } from "../../base/expect.ts";
import type { Plan, Target } from "../../compile/plan.ts";
import type { Backend, DeviceBuffer, Executable, Opened } from "../backend.ts";
import { type Communicators, groupSizes } from "../communicator.ts";
import { type CpuBuffer, CpuExecutable } from "./executable.ts";
import { kernelText } from "./kernel_text.ts";
import { Lowering, webAssembly } from "./lower.ts";
import { LinearMemory } from "./memory.ts";
import { type OnednnDevice, openOnednnDevice, unusable } from "./onednn/device.ts";
import type { CpuEngine } from "./engine_name.ts";
import { targetOf } from "./target.ts";
import { defaultThreads, MOST_THREADS } from "./thread_count.ts";
import { StartFailure, ThreadPool } from "./threads.ts";

/** Options of {@link openCpu}. */
export interface CpuOptions {
  /** Threads, including the calling one. Default: one per logical processor. Results do not depend on it. */
  readonly threads?: number;
  /** The engine for convolutions and products; default: `wasm`. Results depend on it in their last bits. */
  readonly engine?: CpuEngine;
  /** The groups of processes that programs exchange data with; default none. */
  readonly communicators?: Communicators;
  /** The memory for all arrays and plans, for tests. Default: that of a closed device, or a new one. */
  readonly memory?: LinearMemory;
}

/** WebAssembly with SIMD and relaxed fused multiply-add, on all processors, in one shared memory. */
class CpuBackend implements Backend {
  readonly name = "cpu";
  readonly target: Target;
  readonly #memory: LinearMemory;
  readonly #pool: ThreadPool;
  readonly #lowering: Lowering;
  readonly #onednn: OnednnDevice | undefined;
  readonly #communicators: Communicators;
  readonly #buffers = new Set<DeviceBuffer>();
  readonly #executables = new Set<CpuExecutable>();
  #bufferBytes = 0;
  #arena = 0;
  #arenaBytes = 0;
  #closed = false;

  constructor(
    threads: number,
    memory: LinearMemory,
    communicators: Communicators,
    onednn: OnednnDevice | undefined,
  ) {
    this.#memory = memory;
    this.#communicators = communicators;
    this.#pool = ThreadPool.start(memory, threads, onednn?.setup(memory.memory));
    this.#onednn = onednn;
    this.#lowering = onednn === undefined ? webAssembly : new Lowering(onednn.launches);
    this.target = { ...targetOf(this.#lowering, threads, onednn), groups: groupSizes(communicators) };
  }

  get description(): string {
    const { threads } = this.#pool;
    const library = this.#onednn === undefined ? "" : ` and ${this.#onednn.description}`;
    return `${threads} thread${threads === 1 ? "" : "s"} of WebAssembly SIMD${library}`;
  }

  get arithmetic(): string {
    return `cpu, ${this.#onednn === undefined ? "WebAssembly" : this.#onednn.arithmetic}`;
  }

  get liveBuffers(): number {
    return this.#buffers.size + (this.#arenaBytes + this.#pool.scratchBytes > 0 ? 1 : 0) +
      [...this.#executables].filter((executable) => executable.heldBytes > 0).length;
  }

  get liveBytes(): number {
    let bytes = this.#bufferBytes + this.#arenaBytes + this.#pool.scratchBytes;
    for (const executable of this.#executables) bytes += executable.heldBytes;
    return bytes;
  }

  residentMemory(): number {
    return Deno.memoryUsage().rss;
  }

  #expectOpen(): void {
    if (this.#closed) throw new LocalgradError("the CPU device is closed; open another");
  }

  allocate(bytes: number): CpuBuffer {
    this.#expectOpen();
    const address = this.#memory.allocate(bytes, "an array");
    this.#memory.bytes.fill(0, address, address + bytes);
    const buffer = { bytes, address };
    this.#buffers.add(buffer);
    this.#bufferBytes += bytes;
    return buffer;
  }

  #own(buffer: DeviceBuffer): CpuBuffer {
    if (!this.#buffers.has(buffer)) throw new Error("not a live buffer of this CPU device");
    return buffer as CpuBuffer;
  }

  free(buffer: DeviceBuffer): void {
    const { address, bytes } = this.#own(buffer);
    this.#buffers.delete(buffer);
    this.#bufferBytes -= bytes;
    this.#memory.free(address, bytes);
  }

  write(buffer: DeviceBuffer, data: Uint8Array): void {
    const { address, bytes } = this.#own(buffer);
    if (data.length > bytes) throw new Error(`${data.length} bytes do not fit a buffer of ${bytes}`);
    this.#memory.bytes.set(data, address);
  }

  read(buffer: DeviceBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const { address, bytes: held } = this.#own(buffer);
    if (bytes > held) throw new Error(`a buffer of ${held} bytes does not hold ${bytes}`);
    const copy = new Uint8Array(bytes);
    copy.set(this.#memory.bytes.subarray(address, address + bytes));
    return Promise.resolve(copy);
  }

  compile(plan: Plan): Executable {
    this.#expectOpen();
    const executable = new CpuExecutable(plan, {
      memory: this.#memory,
      pool: this.#pool,
      lowering: this.#lowering,
      communicators: this.#communicators,
      arena: () => this.#arena,
      addressOf: (buffer) => this.#own(buffer).address,
      disposed: (disposed) => this.#executables.delete(disposed),
    });
    this.#executables.add(executable);
    try {
      this.#growArena(plan); // last, so that a refused plan leaves the arena as it was
    } catch (error) {
      executable.dispose();
      throw error;
    }
    return executable;
  }

  /** Enlarges the arena for a plan. Nothing in the arena outlives a run. */
  #growArena({ arenaBytes, name }: Plan): void {
    if (arenaBytes <= this.#arenaBytes) return;
    const what = `the arena of ${name}`;
    this.#arena = this.#memory.exchange(this.#arena, this.#arenaBytes, arenaBytes, what);
    this.#arenaBytes = arenaBytes;
  }

  kernelText(plan: Plan): string {
    return kernelText(plan, this.#lowering);
  }

  finish(): Promise<void> {
    return Promise.resolve(); // a run has finished when run() returns
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const executable of [...this.#executables]) executable.dispose();
    for (const buffer of [...this.#buffers]) this.free(buffer);
    if (this.#arenaBytes > 0) this.#memory.free(this.#arena, this.#arenaBytes);
    this.#arenaBytes = 0;
    await this.#pool.close();
    this.#onednn?.close();
    this.#memory.leave();
  }
}

/** Tests whether the engine accepts a module with what the backend requires: shared memory and relaxed SIMD. */
function supported(): boolean {
  // (module (memory (import "" "") 1 1 shared) (func (v128.const …) ×3 (f32x4.relaxed_madd) drop))
  const vector = [0xfd, 0x0c, ...new Array<number>(16).fill(0)];
  const body = [0x00, ...vector, ...vector, ...vector, 0xfd, 0x85, 0x02, 0x1a, 0x0b];
  return WebAssembly.validate(
    new Uint8Array([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...[1, 4, 1, 0x60, 0, 0],
      ...[2, 7, 1, 0, 0, 2, 3, 1, 1],
      ...[3, 2, 1, 0],
      ...[10, body.length + 2, 1, body.length, ...body],
    ]),
  );
}

/** Opens the CPU backend. Its threads are running when this returns. */
export function openCpu(options: CpuOptions = {}): Opened {
  const threads = options.threads ?? defaultThreads().threads;
  expectWhole("threads", threads, 1, MOST_THREADS);
  if (!supported()) {
    return {
      reason: "this WebAssembly engine has no relaxed SIMD or no shared memory",
      remedy: "use Deno 2.9 or newer",
    };
  }
  const { engine = "wasm" } = options;
  if (engine === "wasm") return start(threads, options);
  const library = openOnednnDevice();
  const opened = "reason" in library ? library : start(threads, options, library);
  if (!("reason" in opened)) return opened;
  if (engine === "onednn") return { ...opened, remedy: `${opened.remedy}, or take the engine "wasm"` };
  const { reason, remedy } = opened;
  return { without: { reason, remedy }, ...start(threads, options) };
}

/** Starts the threads; closes `library` if they do not start. */
function start(
  threads: number,
  { memory, communicators = {} }: CpuOptions,
  library?: OnednnDevice,
): Opened {
  try {
    return { backend: new CpuBackend(threads, memory ?? new LinearMemory(), communicators, library) };
  } catch (error) {
    if (library !== undefined && error instanceof StartFailure) {
      error.ended.then(() => library.close());
      return unusable(library.path, error.message);
    }
    library?.close();
    if (!(error instanceof RangeError)) throw error;
    return {
      reason: `V8 cannot allocate its memory (${error.message})`,
      remedy: "close unused devices, or raise the limit on the address space (ulimit -v): " +
        "an open device reserves up to 4 GiB of it",
    };
  }
}
