import { at } from "../base/at.ts";

/** An image waiting to be predicted: bytes, or normalised floats. */
export type Pixels = Uint8Array | Float32Array;

/** Runs a network on images of one kind, padded to `size`; returns their logits `[size, classes]`. */
export type RunBatch = (images: readonly Pixels[], size: number) => Promise<Float32Array>;

interface Waiting {
  readonly pixels: Pixels;
  readonly answer: PromiseWithResolvers<Float32Array>;
}

/**
 * Gathers images that are asked for at the same time, by any number of callers, into batches. One batch runs at a time;
 * what arrives meanwhile is in the next one.
 */
export class Batches {
  readonly #run: RunBatch;
  /** Most images of a batch. */
  readonly #most: number;
  readonly #waiting: Waiting[] = [];
  #working = false;

  constructor(run: RunBatch, most: number) {
    this.#run = run;
    this.#most = most;
  }

  /** Returns the logits of an image. */
  add(pixels: Pixels): Promise<Float32Array> {
    const answer = Promise.withResolvers<Float32Array>();
    this.#waiting.push({ pixels, answer });
    if (!this.#working) {
      this.#working = true;
      this.#work();
    }
    return answer.promise;
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      await arrivals(); // a network may keep the thread busy, so what has come meanwhile is taken in first
      const batch = this.#next();
      try {
        const logits = await this.#run(batch.map(({ pixels }) => pixels), this.#sizeFor(batch.length));
        const classes = logits.length / this.#sizeFor(batch.length);
        batch.forEach(({ answer }, i) => answer.resolve(logits.slice(i * classes, (i + 1) * classes)));
      } catch (error) {
        for (const { answer } of batch) answer.reject(error);
      }
    }
    this.#working = false;
  }

  /** Removes the next batch: the first images of one kind. */
  #next(): Waiting[] {
    const kind = at(this.#waiting, 0).pixels.constructor;
    const end = this.#waiting.findIndex(({ pixels }) => pixels.constructor !== kind);
    return this.#waiting.splice(0, Math.min(end < 0 ? this.#waiting.length : end, this.#most));
  }

  /**
   * The size that a batch is padded to: the next power of two, or the largest size. So a network is compiled for a few
   * sizes only, and a single image does not take as long as a whole batch.
   */
  #sizeFor(count: number): number {
    return Math.min(this.#most, 2 ** Math.ceil(Math.log2(count)));
  }
}

/** Lets the event loop take in messages and requests that have arrived. */
function arrivals(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
