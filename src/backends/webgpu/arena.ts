import type { Gpu } from "./device.ts";

/** The memory all programs of a device share, in buffers of `segmentBytes`; it grows and never shrinks. */
export class Arena {
  readonly #gpu: Gpu;
  readonly #segmentBytes: number;
  readonly #segments: (GPUBuffer | undefined)[] = [];

  constructor(gpu: Gpu, segmentBytes: number) {
    this.#gpu = gpu;
    this.#segmentBytes = segmentBytes;
  }

  /**
   * Makes room for `bytes`; before every run, since another plan may have been refused what it needed. Contents are lost
   * where a segment is replaced; nothing outlives a run there.
   */
  grow(bytes: number): void {
    for (let index = 0; index * this.#segmentBytes < bytes; index++) {
      const wanted = Math.min(this.#segmentBytes, bytes - index * this.#segmentBytes);
      const held = this.#segments[index];
      if (held !== undefined && held.size >= wanted) continue;
      if (held !== undefined) {
        delete this.#segments[index]; // where no new one is given, the plans that need it ask anew
        this.#gpu.destroy(held);
      }
      this.#segments[index] = this.#gpu.create(wanted, GPUBufferUsage.STORAGE);
    }
  }

  /** The buffer an arena offset lies in, and where in it. */
  at(offset: number): { readonly buffer: GPUBuffer; readonly offset: number } {
    const index = Math.floor(offset / this.#segmentBytes);
    return { buffer: this.#segments[index]!, offset: offset - index * this.#segmentBytes };
  }
}
