import { LocalgradError } from "../../errors.ts";

const PAGE = 65536;
/** Pages of a 32-bit memory: 4 GiB. */
const MAXIMUM_PAGES = 65536;
const INITIAL_PAGES = 16;
/** Every block starts on a cache line, so that threads share none. */
export const ALIGNMENT = 64;
/** Bytes at the start that the scheduler uses. */
export const RESERVED = 1024;
/**
 * Bytes at the very end that are never handed out: vector code may read up to 12 bytes past a block, and loops compare
 * addresses that may lie just after one.
 */
const SLACK = PAGE;

/** The most bytes that can be handed out. */
export const CAPACITY: number = MAXIMUM_PAGES * PAGE - RESERVED - SLACK;

/** Declared limits of the shared memory, which every module that imports it must repeat. */
export const memoryLimits = { initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES } as const;

const MIB = 2 ** 20;

/** The shared WebAssembly memory that holds everything a device has, with a first-fit allocator over it. */
export class LinearMemory {
  /** The memory itself. */
  readonly memory: WebAssembly.Memory = new WebAssembly.Memory({ ...memoryLimits, shared: true });
  /** Free blocks by address; neighbours are merged. The last one ends at `#end`. */
  readonly #free: { start: number; bytes: number }[] = [];
  #end = RESERVED;
  #bytes = new Uint8Array(this.memory.buffer);
  #words = new Int32Array(this.memory.buffer);
  #used = 0;

  /** Bytes handed out. */
  get used(): number {
    return this.#used;
  }

  #refresh(): void {
    // A shared memory that grows gets a new buffer; views of the old one stay valid but do not see the new pages.
    if (this.#bytes.byteLength === this.memory.buffer.byteLength) return;
    this.#bytes = new Uint8Array(this.memory.buffer);
    this.#words = new Int32Array(this.memory.buffer);
  }

  /** All of the memory as bytes. Not to be kept across an allocation. */
  get bytes(): Uint8Array {
    this.#refresh();
    return this.#bytes;
  }

  /** All of the memory as words. Not to be kept across an allocation. */
  get words(): Int32Array {
    this.#refresh();
    return this.#words;
  }

  /** Hands out a block and gives its address; its contents are anything. */
  allocate(bytes: number, what: string): number {
    const size = Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
    const index = this.#free.findIndex((block) => block.bytes >= size);
    if (index >= 0) {
      const block = this.#free[index];
      const address = block.start;
      block.start += size;
      block.bytes -= size;
      if (block.bytes === 0) this.#free.splice(index, 1);
      this.#used += size;
      return address;
    }
    const last = this.#free.at(-1);
    const tail = last !== undefined && last.start + last.bytes === this.#end ? last.bytes : 0;
    this.#grow(size - tail, bytes, what);
    this.#release(this.#end, size - tail, size - tail);
    this.#end += size - tail;
    return this.allocate(bytes, what);
  }

  #grow(by: number, bytes: number, what: string): void {
    const missing = this.#end + by + SLACK - this.memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      this.memory.grow(Math.ceil(missing / PAGE));
    } catch {
      throw new LocalgradError(
        `${what} needs ${Math.ceil(bytes / MIB)} MiB; the CPU backend's memory holds ${
          Math.ceil(this.#used / MIB)
        } ` +
          `MiB already and cannot grow: it ends at 4 GiB or at what the system gives. Use a smaller batch or model`,
      );
    }
  }

  /** Takes a block of `allocate(bytes)` back. */
  free(address: number, bytes: number): void {
    this.#release(address, Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT), 0);
  }

  /** Adds a block to the free list; `fresh` of its bytes were never in use. */
  #release(start: number, bytes: number, fresh: number): void {
    this.#used -= bytes - fresh;
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
