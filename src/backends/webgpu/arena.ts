import { BufferUsage } from "./flags.ts";
import type { Gpu } from "./gpu.ts";
import { validated, type Validation } from "./validation.ts";

/** A buffer of the arena, and the validation that WebGPU has the memory for it. */
interface Segment {
  readonly buffer: GPUBuffer;
  readonly validation: Validation;
}

/** The memory that all programs of a device share, in buffers of `segmentBytes`. It grows and never shrinks. */
export class Arena {
  readonly #gpu: Gpu;
  readonly #segmentBytes: number;
  /** For each segment, the buffer in use, and larger ones that WebGPU has not yet granted. */
  readonly #segments: Segment[][] = [];

  constructor(gpu: Gpu, segmentBytes: number) {
    this.#gpu = gpu;
    this.#segmentBytes = segmentBytes;
  }

  /**
   * Makes room for `bytes` and returns the validations of that memory still under way. A smaller buffer stays until the
   * larger one is granted. A replaced buffer's contents are lost; nothing in the arena outlives a run. Call it before
   * every run, because memory that another plan requested may have been refused.
   */
  grow(bytes: number): Validation[] {
    const validations: Validation[] = [];
    for (let index = 0; index * this.#segmentBytes < bytes; index++) {
      const segment = this.#find(index, bytes) ?? this.#add(index, this.#wanted(index, bytes));
      if (!segment.validation.settled) validations.push(segment.validation);
    }
    return validations;
  }

  /** Waits until WebGPU has granted or refused all memory asked for so far: then no buffer in use is replaced. */
  async settled(): Promise<void> {
    await Promise.all(this.#segments.flat().map(({ validation }) => validation.done));
  }

  /** The buffer at an offset in the arena, for a plan that needs `bytes` in all, and the offset in that buffer. */
  at(offset: number, bytes: number): { readonly buffer: GPUBuffer; readonly offset: number } {
    const index = Math.floor(offset / this.#segmentBytes);
    const segment = this.#find(index, bytes);
    if (segment === undefined) throw new Error(`webgpu: the arena has no byte ${offset}`);
    return { buffer: segment.buffer, offset: offset - index * this.#segmentBytes };
  }

  #wanted(index: number, bytes: number): number {
    return Math.min(this.#segmentBytes, bytes - index * this.#segmentBytes);
  }

  /** The first buffer of a segment that is large enough. */
  #find(index: number, bytes: number): Segment | undefined {
    return this.#segments[index]?.find(({ buffer }) => buffer.size >= this.#wanted(index, bytes));
  }

  #add(index: number, wanted: number): Segment {
    const { value: buffer, validation } = validated(
      this.#gpu.device,
      () => this.#gpu.create(wanted, BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST),
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
