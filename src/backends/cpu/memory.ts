import { LocalgradError } from "../../base/errors.ts";

const PAGE = 65536;
/** Pages of a 32-bit memory: 4 GiB. */
const MAXIMUM_PAGES = 65536;
const INITIAL_PAGES = 16;
/** Every block starts on a cache line, so that threads share none. */
export const ALIGNMENT = 64;
/** Bytes at the start for the control block of the threads. */
export const RESERVED = 2048;
/**
 * Bytes at the very end that are never allocated: vector code may read up to 12 bytes past a block, and loops compare
 * addresses that may be just after one.
 */
const SLACK = PAGE;

/** The most bytes that can be allocated. */
export const CAPACITY: number = MAXIMUM_PAGES * PAGE - RESERVED - SLACK;

/** Declared limits of the shared memory, which every module that imports it must repeat. */
export const memoryLimits = { initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES } as const;

const MIB = 2 ** 20;

/**
 * Memories of closed devices. WebAssembly's memory cannot shrink, and V8 frees one only at its next garbage collection,
 * which memory outside its heap does not hasten: twelve devices of 900 MB, opened one after another, came to 4.6 GB. So
 * the next device reuses the memory of a closed one. The references are weak: the collector may still free it.
 */
const left: WeakRef<WebAssembly.Memory>[] = [];

/** Takes the largest memory that a closed device left. */
function takeLeft(): WebAssembly.Memory | undefined {
  const there = left.splice(0).map((reference) => reference.deref()).filter((memory) => memory !== undefined);
  there.sort((a, b) => a.buffer.byteLength - b.buffer.byteLength);
  const largest = there.pop();
  left.push(...there.map((memory) => new WeakRef(memory)));
  return largest;
}

/** The shared WebAssembly memory of a device, with a first-fit allocator. */
export class LinearMemory {
  /** The memory itself. */
  readonly memory: WebAssembly.Memory;
  /** Free blocks by address; neighbours are merged. The last one ends at `#end`. */
  readonly #free: { start: number; bytes: number }[] = [];
  #end = RESERVED;
  #bytes: Uint8Array;
  #words: Int32Array;
  #used = 0;

  /** Takes over the memory of a closed device, or a new one; throws V8's RangeError if it cannot allocate one. */
  constructor() {
    this.memory = takeLeft() ?? new WebAssembly.Memory({ ...memoryLimits, shared: true });
    this.#bytes = new Uint8Array(this.memory.buffer);
    this.#words = new Int32Array(this.memory.buffer);
    this.#bytes.fill(0, 0, RESERVED); // clears the control block of the last device
  }

  /** Leaves the memory to the next device. All threads that use it must have ended. */
  leave(): void {
    left.push(new WeakRef(this.memory));
  }

  /** Bytes allocated. */
  get used(): number {
    return this.#used;
  }

  #refresh(): void {
    // A shared memory that grows gets a new buffer; views of the old one stay valid but do not see the new pages.
    if (this.#bytes.byteLength === this.memory.buffer.byteLength) return;
    this.#bytes = new Uint8Array(this.memory.buffer);
    this.#words = new Int32Array(this.memory.buffer);
  }

  /** All of the memory as bytes; do not keep it across an allocation. */
  get bytes(): Uint8Array {
    this.#refresh();
    return this.#bytes;
  }

  /** All of the memory as words; do not keep it across an allocation. */
  get words(): Int32Array {
    this.#refresh();
    return this.#words;
  }

  /** Allocates a block and returns its address; its contents are undefined. `what` names it in errors. */
  allocate(bytes: number, what: string): number {
    const size = sizeOf(bytes);
    const block = this.#free.find((block) => block.bytes >= size);
    if (block !== undefined) return this.#take(block.start, size);
    const last = this.#free.at(-1);
    const start = last !== undefined && last.start + last.bytes === this.#end ? last.start : this.#end;
    const missing = start + size - this.#end;
    this.#grow(missing, bytes, what);
    this.#release(this.#end, missing);
    this.#end += missing;
    return this.#take(start, size);
  }

  /**
   * Replaces a block by a larger one, without its contents; a block of 0 bytes means no block. The old one is freed first,
   * so that the new one may reuse its place. If the allocation fails, the old one stays allocated.
   */
  exchange(address: number, bytes: number, wanted: number, what: string): number {
    if (bytes > 0) this.free(address, bytes);
    try {
      return this.allocate(wanted, what);
    } catch (error) {
      if (bytes > 0) this.#take(address, sizeOf(bytes));
      throw error;
    }
  }

  #grow(by: number, bytes: number, what: string): void {
    const missing = this.#end + by + SLACK - this.memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      this.memory.grow(Math.ceil(missing / PAGE));
    } catch {
      throw new LocalgradError(
        `${what} needs ${Math.ceil(bytes / MIB)} MiB, but the CPU backend's memory already holds ` +
          `${
            Math.ceil(this.#used / MIB)
          } MiB and cannot grow: its limit is 4 GiB, or less if the system grants less. ` +
          "Use a smaller batch or model",
        { code: "tooLarge" },
      );
    }
  }

  /** Frees a block of `allocate(bytes)`. */
  free(address: number, bytes: number): void {
    this.#used -= sizeOf(bytes);
    this.#release(address, sizeOf(bytes));
  }

  /** Removes bytes from the free block that contains them. */
  #take(start: number, bytes: number): number {
    const at = this.#free.findIndex((block) => start < block.start + block.bytes);
    const block = this.#free[at];
    const [before, after] = [start - block.start, block.start + block.bytes - (start + bytes)];
    this.#free.splice(
      at,
      1,
      ...(before > 0 ? [{ start: block.start, bytes: before }] : []),
      ...(after > 0 ? [{ start: start + bytes, bytes: after }] : []),
    );
    this.#used += bytes;
    return start;
  }

  /** Adds a block to the free list. */
  #release(start: number, bytes: number): void {
    let at = this.#free.findIndex((block) => block.start > start);
    if (at < 0) at = this.#free.length;
    this.#free.splice(at, 0, { start, bytes });
    for (const left of [at, at - 1]) {
      const [a, b] = [this.#free[left], this.#free[left + 1]];
      if (a === undefined || b === undefined || a.start + a.bytes !== b.start) continue;
      a.bytes += b.bytes;
      this.#free.splice(left + 1, 1);
    }
  }
}

/** The bytes of a block that is allocated for `bytes`. */
function sizeOf(bytes: number): number {
  return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
}
