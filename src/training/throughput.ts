import type { Loading } from "../artifacts/observer.ts";
import type { ImageReader } from "../data/images.ts";

/** Measures the speed of training in an epoch, without compilation and evaluation. */
export class Throughput {
  #images = 0;
  #ms = 0;
  #waited = 0;
  /** The reader's totals when the epoch began; undefined if images are not streamed. */
  #made: ImageReader["done"] | undefined;

  /** Starts from the reader's totals at the beginning of the run. */
  constructor(made: ImageReader["done"] | undefined) {
    this.#made = made;
  }

  /** Starts an epoch. */
  reset(): void {
    this.#images = this.#ms = this.#waited = 0;
  }

  /** Counts images trained on and the milliseconds that took, `waited` of them for the images. */
  count(images: number, ms: number, waited = 0): void {
    this.#images += images;
    this.#ms += ms;
    this.#waited += waited;
  }

  /** Training images per second; 0 before any were counted. */
  get imagesPerSecond(): number {
    return perSecond(this.#images, this.#ms);
  }

  /** Loading of streamed images since the last call, by the reader's totals; undefined if there are none. */
  loading(made: ImageReader["done"] | undefined): Loading | undefined {
    const before = this.#made;
    this.#made = made;
    if (before === undefined || made === undefined) return undefined;
    return {
      imagesPerSecond: perSecond(made.images - before.images, made.milliseconds - before.milliseconds),
      waiting: this.#ms === 0 ? 0 : this.#waited / this.#ms,
    };
  }
}

function perSecond(images: number, ms: number): number {
  return ms === 0 ? 0 : images / ms * 1000;
}
