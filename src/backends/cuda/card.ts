import {
  checkDriver,
  deviceAttribute,
  type Driver,
  driverError,
  driverFlag,
  driverStatus,
} from "../../../ffi/driver.ts";
import { textOf } from "../../../ffi/memory.ts";
import { LocalgradError } from "../../base/errors.ts";

/** What a card is. */
export interface CardFacts {
  /** Its name, such as `NVIDIA H200`. */
  readonly name: string;
  /** Its architecture: 90 for sm_90. */
  readonly architecture: number;
  /** Bytes of memory, and how many of them were free when it was opened. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Streaming multiprocessors, and their clock in kHz. */
  readonly multiprocessors: number;
  readonly clock: number;
  /** The memory's clock in kHz, and the bits it moves at once. */
  readonly memoryClock: number;
  readonly memoryBus: number;
}

/** Memory below this is handed out in steps of 512 bytes, above in steps of 2 MiB, which is what the driver maps. */
const SMALL = 2 ** 20, FINE = 512, COARSE = 2 ** 21;

/** One card: its context, the stream that all work goes to in order (uploads.ts has another), and its memory. */
export class Card {
  readonly driver: Driver;
  readonly facts: CardFacts;
  /** The stream. */
  readonly stream: bigint;
  readonly #device: number;
  readonly #live = new Map<bigint, number>();
  /** Freed blocks by size. The stream is in order, so a block may be given out again at once. */
  readonly #spare = new Map<number, bigint[]>();
  readonly #out = new BigUint64Array(1);
  #bytes = 0;
  #reserved = 0;
  #closed = false;

  /** Opens a card; raises what the driver says. */
  constructor(driver: Driver, ordinal: number = 0) {
    this.driver = driver;
    const number = new Int32Array(1);
    this.check(driver.cuInit(0), "starting the driver");
    this.check(driver.cuDeviceGet(number, ordinal), `choosing card ${ordinal}`);
    this.#device = number[0];
    this.check(driver.cuDevicePrimaryCtxRetain(this.#out, this.#device), "opening a context");
    try {
      this.check(driver.cuCtxSetCurrent(this.#out[0]), "using the context");
      this.facts = this.#ask();
      // Non-blocking: it does not wait for the legacy stream, which capture would not allow.
      this.check(driver.cuStreamCreate(this.#out, driverFlag.CU_STREAM_NON_BLOCKING), "creating a stream");
      this.stream = this.#out[0];
    } catch (error) {
      driver.cuDevicePrimaryCtxRelease_v2(this.#device);
      throw error;
    }
  }

  #ask(): CardFacts {
    const { driver } = this;
    const name = new Uint8Array(256);
    this.check(driver.cuDeviceGetName(name, name.length, this.#device), "asking for the card's name");
    const attribute = (which: number): number => {
      const value = new Int32Array(1);
      this.check(driver.cuDeviceGetAttribute(value, which, this.#device), "asking about the card");
      return value[0];
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
    };
  }

  /** Free and total bytes, by the driver's own count. */
  memory(): { readonly free: number; readonly total: number } {
    const free = new BigUint64Array(1), total = new BigUint64Array(1);
    this.check(this.driver.cuMemGetInfo_v2(free, total), "asking for free memory");
    return { free: Number(free[0]), total: Number(total[0]) };
  }

  /** Blocks given out and not given back. */
  get liveBuffers(): number {
    return this.#live.size;
  }

  /** Their bytes. */
  get liveBytes(): number {
    return this.#bytes;
  }

  /** Bytes taken from the driver: those given out, rounded up to its steps, and the spare. */
  get reservedBytes(): number {
    return this.#reserved;
  }

  /** Gives out memory, not cleared. */
  allocate(bytes: number): bigint {
    const size = sizeClass(bytes);
    const address = this.#spare.get(size)?.pop() ?? this.#reserve(size);
    this.#live.set(address, bytes);
    this.#bytes += bytes;
    return address;
  }

  /** Takes memory back; work already issued on it is unaffected. */
  free(address: bigint): void {
    const bytes = this.#live.get(address);
    if (bytes === undefined) throw new Error("cuda: this memory was freed already");
    this.#live.delete(address);
    this.#bytes -= bytes;
    const size = sizeClass(bytes);
    const spare = this.#spare.get(size);
    if (spare === undefined) this.#spare.set(size, [address]);
    else spare.push(address);
  }

  /** Gives spare blocks back to the driver. */
  trim(): void {
    for (const [size, addresses] of this.#spare) {
      for (const address of addresses) this.check(this.driver.cuMemFree_v2(address), "freeing memory");
      this.#reserved -= size * addresses.length;
    }
    this.#spare.clear();
  }

  #reserve(size: number): bigint {
    // The driver's sizes have 64 bits: of a larger one it would see the rest.
    const ask = () =>
      size > Number.MAX_SAFE_INTEGER
        ? driverStatus.CUDA_ERROR_OUT_OF_MEMORY
        : this.driver.cuMemAlloc_v2(this.#out, BigInt(size));
    let status = ask();
    if (status === driverStatus.CUDA_ERROR_OUT_OF_MEMORY) {
      this.trim();
      status = ask();
    }
    if (status === driverStatus.CUDA_ERROR_OUT_OF_MEMORY) {
      const { free, total } = this.memory();
      throw new LocalgradError(
        `cuda: ${size} bytes asked for, and ${free} of ${total} are free on ${this.facts.name} ` +
          `(${this.#bytes} are in use here); use a smaller batch or more modules`,
        { cause: driverError(this.driver, status, `allocating ${size} bytes`), code: "tooLarge" },
      );
    }
    this.check(status, `allocating ${size} bytes`);
    this.#reserved += size;
    return this.#out[0];
  }

  /** Sets bytes to zero. */
  clear(address: bigint, bytes: number): void {
    if (bytes === 0) return;
    this.check(this.driver.cuMemsetD8Async(address, 0, BigInt(bytes), this.stream), "clearing memory");
  }

  /** An event that orders streams and measures nothing, unless `flags` say otherwise; the caller's to destroy. */
  createEvent(flags: number = driverFlag.CU_EVENT_DISABLE_TIMING): bigint {
    const out = new BigUint64Array(1);
    this.check(this.driver.cuEventCreate(out, flags), "creating an event");
    return out[0];
  }

  /** Records an event behind what was issued on a stream so far. */
  record(event: bigint, stream: bigint): void {
    this.check(this.driver.cuEventRecord(event, stream), "recording an event");
  }

  /** Makes what is issued on a stream from now on wait for an event's last record. */
  wait(stream: bigint, event: bigint): void {
    this.check(this.driver.cuStreamWaitEvent(stream, event, 0), "making a stream wait");
  }

  /** Waits for all work. */
  synchronize(): void {
    this.check(this.driver.cuStreamSynchronize(this.stream), "waiting for the card");
  }

  /** Raises the driver's error, if a status is one. */
  check(status: number, doing: string): void {
    if (status !== driverStatus.CUDA_SUCCESS) checkDriver(this.driver, status, doing);
  }

  /** Gives everything back. A card that was lost takes nothing back: then only the books are closed. */
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
