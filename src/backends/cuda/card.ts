import {
  deviceAttribute,
  type Driver,
  driverError,
  driverFlag,
  driverStatus,
  isFault,
} from "../../../ffi/driver.ts";
import { outI32, outU64, textOf } from "../../../ffi/memory.ts";
import { LocalgradError } from "../../base/errors.ts";

/** The properties of a card. */
export interface CardFacts {
  /** Its name, such as `NVIDIA H200`. */
  readonly name: string;
  /** Its architecture: 90 for sm_90. */
  readonly architecture: number;
  /** Bytes of memory. */
  readonly totalBytes: number;
  /** Bytes of memory that were free when it was opened. */
  readonly freeBytes: number;
  /** The number of streaming multiprocessors. */
  readonly multiprocessors: number;
  /** Their clock rate in kHz. */
  readonly clock: number;
  /** The memory's clock rate in kHz. */
  readonly memoryClock: number;
  /** The width of the memory bus in bits. */
  readonly memoryBus: number;
  /** Bytes of its second cache. */
  readonly cacheBytes: number;
}

/** Up to 1 MiB, allocations are rounded up to 512 bytes; beyond, to 2 MiB, the unit in which the driver maps memory. */
const SMALL = 2 ** 20, FINE = 512, COARSE = 2 ** 21;

/** The remedy of an error that may be that of any launch before it. */
const UNNAMED =
  "work that was issued earlier may be the cause: run again with --sync-launches (an option of " +
  "devices.open: syncLaunches: true), which waits for every launch and names the one that fails";

/** One card: its context, its memory, and the stream that runs all work in order (uploads.ts has another). */
export class Card {
  readonly driver: Driver;
  readonly facts: CardFacts;
  /** The stream of all work. */
  readonly stream: bigint;
  /** True to wait for the card after every launch, so that an error names the launch; see {@link launched}. */
  readonly syncLaunches: boolean;
  /** Throws if what the card waits for can never come; called where the host waits for the card. */
  watch: () => void = () => {};
  readonly #device: number;
  readonly #live = new Map<bigint, number>();
  /** Freed blocks by size. The stream runs work in order, so a block can be reused at once. */
  readonly #spare = new Map<number, bigint[]>();
  readonly #out = outU64();
  #bytes = 0;
  #reserved = 0;
  #closed = false;

  /** Opens a card. Throws a LibraryError if the driver refuses. */
  constructor(driver: Driver, syncLaunches: boolean = false, ordinal: number = 0) {
    this.driver = driver;
    this.syncLaunches = syncLaunches;
    const number = outI32();
    this.check(driver.cuInit(0), "starting the driver");
    this.check(driver.cuDeviceGet(number.buffer, ordinal), `choosing card ${ordinal}`);
    this.#device = number.value;
    this.check(driver.cuDevicePrimaryCtxRetain(this.#out.buffer, this.#device), "opening a context");
    try {
      this.check(driver.cuCtxSetCurrent(this.#out.value), "using the context");
      this.facts = this.#query();
      // Non-blocking: a capture must not wait for the legacy default stream.
      this.check(
        driver.cuStreamCreate(this.#out.buffer, driverFlag.CU_STREAM_NON_BLOCKING),
        "creating a stream",
      );
      this.stream = this.#out.value;
    } catch (error) {
      driver.cuDevicePrimaryCtxRelease_v2(this.#device);
      throw error;
    }
  }

  #query(): CardFacts {
    const { driver } = this;
    const name = new Uint8Array(256);
    this.check(driver.cuDeviceGetName(name, name.length, this.#device), "asking for the card's name");
    const attribute = (which: number): number => {
      const value = outI32();
      this.check(driver.cuDeviceGetAttribute(value.buffer, which, this.#device), "asking about the card");
      return value.value;
    };
    const { free, total } = this.memory();
    return {
      name: textOf(name),
      architecture: 10 * attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
        attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
      totalBytes: total,
      freeBytes: free,
      multiprocessors: attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
      clock: attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
      memoryClock: attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
      memoryBus: attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH),
      cacheBytes: attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
    };
  }

  /** Free and total bytes, as the driver counts them. */
  memory(): { readonly free: number; readonly total: number } {
    const free = outU64(), total = outU64();
    this.check(this.driver.cuMemGetInfo_v2(free.buffer, total.buffer), "asking for free memory");
    return { free: Number(free.value), total: Number(total.value) };
  }

  /** The number of blocks allocated and not freed. */
  get liveBuffers(): number {
    return this.#live.size;
  }

  /** Their bytes. */
  get liveBytes(): number {
    return this.#bytes;
  }

  /** Bytes taken from the driver: the allocated blocks, rounded up, and the freed ones kept for reuse. */
  get reservedBytes(): number {
    return this.#reserved;
  }

  /** Allocates memory without clearing it. */
  allocate(bytes: number): bigint {
    const size = sizeClass(bytes);
    const address = this.#spare.get(size)?.pop() ?? this.#reserve(size);
    this.#live.set(address, bytes);
    this.#bytes += bytes;
    return address;
  }

  /** Frees memory for reuse; work already issued on it is unaffected. */
  free(address: bigint): void {
    const bytes = this.#live.get(address);
    if (bytes === undefined) throw new Error("cuda: this memory was already freed");
    this.#live.delete(address);
    this.#bytes -= bytes;
    const size = sizeClass(bytes);
    const spare = this.#spare.get(size);
    if (spare === undefined) this.#spare.set(size, [address]);
    else spare.push(address);
  }

  /** Returns freed blocks to the driver. */
  trim(): void {
    for (const [size, addresses] of this.#spare) {
      for (const address of addresses) this.check(this.driver.cuMemFree_v2(address), "freeing memory");
      this.#reserved -= size * addresses.length;
    }
    this.#spare.clear();
  }

  #reserve(size: number): bigint {
    // The driver takes sizes of 64 bits and would see a larger one modulo 2⁶⁴.
    const allocate = () =>
      size > Number.MAX_SAFE_INTEGER
        ? driverStatus.CUDA_ERROR_OUT_OF_MEMORY
        : this.driver.cuMemAlloc_v2(this.#out.buffer, BigInt(size));
    let status = allocate();
    if (status === driverStatus.CUDA_ERROR_OUT_OF_MEMORY) {
      this.trim();
      status = allocate();
    }
    if (status === driverStatus.CUDA_ERROR_OUT_OF_MEMORY) {
      const { free, total } = this.memory();
      throw new LocalgradError(
        `cuda: cannot allocate ${size} bytes on ${this.facts.name}: ${free} of ${total} are free ` +
          `(${this.#bytes} are in use here); use a smaller batch or more modules`,
        { cause: driverError(this.driver, status, `allocating ${size} bytes`), code: "tooLarge" },
      );
    }
    this.check(status, `allocating ${size} bytes`);
    this.#reserved += size;
    return this.#out.value;
  }

  /** Sets bytes to zero. */
  clear(address: bigint, bytes: number, stream: bigint = this.stream): void {
    if (bytes === 0) return;
    this.check(this.driver.cuMemsetD8Async(address, 0, BigInt(bytes), stream), "clearing memory");
  }

  /** Creates an event, by default one without timing, to order streams. The caller destroys it. */
  createEvent(flags: number = driverFlag.CU_EVENT_DISABLE_TIMING): bigint {
    const out = outU64();
    this.check(this.driver.cuEventCreate(out.buffer, flags), "creating an event");
    return out.value;
  }

  /** Records an event after the work issued on a stream so far. */
  record(event: bigint, stream: bigint): void {
    this.check(this.driver.cuEventRecord(event, stream), "recording an event");
  }

  /** Records an event in the graph that a stream is captured into, for streams outside of it to wait for. */
  recordExternally(event: bigint, stream: bigint): void {
    const status = this.driver.cuEventRecordWithFlags(event, stream, driverFlag.CU_EVENT_RECORD_EXTERNAL);
    this.check(status, "recording an event in a graph");
  }

  /** Creates a stream that waits for no other. The caller destroys it. */
  createStream(): bigint {
    const out = outU64();
    this.check(
      this.driver.cuStreamCreate(out.buffer, driverFlag.CU_STREAM_NON_BLOCKING),
      "creating a stream",
    );
    return out.value;
  }

  /** Copies bytes on the card. */
  copy(to: bigint, from: bigint, bytes: number, stream: bigint = this.stream): void {
    if (bytes === 0) return;
    this.check(this.driver.cuMemcpyDtoDAsync_v2(to, from, BigInt(bytes), stream), "copying on the card");
  }

  /** Makes all work issued on a stream from now on wait for the last record of an event. */
  wait(stream: bigint, event: bigint): void {
    this.check(this.driver.cuStreamWaitEvent(stream, event, 0), "making a stream wait");
  }

  /** Waits for all work on the stream. */
  synchronize(): void {
    this.check(this.driver.cuStreamSynchronize(this.stream), "waiting for the card");
  }

  /** Waits for the card if every launch is waited for; throws an error that names the launch if it failed. */
  launched(launch: () => string): void {
    if (!this.syncLaunches) return;
    const status = this.driver.cuStreamSynchronize(this.stream);
    if (status !== driverStatus.CUDA_SUCCESS) this.check(status, `running ${launch()}`);
  }

  /** Waits for all work on the stream, but for nothing that can never come; for freeing, whatever the status. */
  drain(stream: bigint = this.stream): void {
    try {
      this.watch();
    } catch { /* told to those who wait for results */ }
    this.driver.cuStreamSynchronize(stream);
  }

  /** Throws the card's error if earlier work failed on it; waits for that work. */
  throwFault(): void {
    const status = this.driver.cuStreamSynchronize(this.stream);
    if (isFault(status)) this.check(status, "waiting for the card");
  }

  /** Throws the driver's error for a status that is one. */
  check(status: number, doing: string): void {
    if (status === driverStatus.CUDA_SUCCESS) return;
    throw driverError(this.driver, status, doing, isFault(status) && !this.syncLaunches ? UNNAMED : "");
  }

  /** Frees everything. On a lost card the driver frees nothing, and only the counts are reset. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { driver } = this;
    for (const address of this.#live.keys()) driver.cuMemFree_v2(address);
    for (const addresses of this.#spare.values()) {
      addresses.forEach((address) => driver.cuMemFree_v2(address));
    }
    this.#live.clear();
    this.#spare.clear();
    this.#bytes = this.#reserved = 0;
    driver.cuStreamDestroy_v2(this.stream);
    driver.cuDevicePrimaryCtxRelease_v2(this.#device);
  }
}

function sizeClass(bytes: number): number {
  const step = bytes <= SMALL ? FINE : COARSE;
  return Math.max(1, Math.ceil(bytes / step)) * step;
}
