import { BufferUsage } from "./flags.ts";
import type { Gpu } from "./gpu.ts";
import { validated, type Validation } from "./validation.ts";

/** A buffer of the arena, and whether WebGPU has the memory for it. */
interface Segment {
  readonly buffer: GPUBuffer;
  readonly validation: Validation;
}

/** The memory all programs of a device share, in buffers of `segmentBytes`; it grows and never shrinks. */
export class Arena {
  readonly #gpu: Gpu;
  readonly #segmentBytes: number;
  /** At each place the buffer in use, and larger ones that WebGPU has not yet granted. */
  readonly #segments: Segment[][] = [];

  constructor(gpu: Gpu, segmentBytes: number) {
    this.#gpu = gpu;
    this.#segmentBytes = segmentBytes;
  }

  /**
   * Makes room for `bytes`, and gives the validations on that which are not there yet. A smaller buffer stays until the
   * larger one stands. Contents are lost where a buffer is replaced; nothing outlives a run there. To be called before
   * every run, since what another plan asked for may have been refused.
   */
  grow(bytes: number): Validation[] {
    const validations: Validation[] = [];
    for (let index = 0; index * this.#segmentBytes < bytes; index++) {
      const segment = this.#find(index, bytes) ?? this.#add(index, this.#wanted(index, bytes));
      if (!segment.validation.settled) validations.push(segment.validation);
    }
    return validations;
  }

  /** The buffer that an arena offset of a plan that needs `bytes` lies in, and where in it. */
  at(offset: number, bytes: number): { readonly buffer: GPUBuffer; readonly offset: number } {
    const index = Math.floor(offset / this.#segmentBytes);
    return { buffer: this.#find(index, bytes)!.buffer, offset: offset - index * this.#segmentBytes };
  }

  #wanted(index: number, bytes: number): number {
    return Math.min(this.#segmentBytes, bytes - index * this.#segmentBytes);
  }

  /** The first buffer at a place that is large enough. */
  #find(index: number, bytes: number): Segment | undefined {
    return this.#segments[index]?.find(({ buffer }) => buffer.size >= this.#wanted(index, bytes));
  }

  #add(index: number, wanted: number): Segment {
    const { value: buffer, validation } = validated(
      this.#gpu.device,
      () => this.#gpu.create(wanted, BufferUsage.STORAGE),
    );
    const segment = { buffer, validation };
    const place = this.#segments[index] ??= [];
    place.push(segment);
    validation.done.then(() => {
      const at = place.indexOf(segment);
      if (at < 0) return;
      const gone = validation.fault === undefined ? place.splice(0, at) : place.splice(at, 1);
      for (const { buffer } of gone) if (this.#gpu.holds(buffer)) this.#gpu.destroy(buffer);
    });
    return segment;
  }
}
