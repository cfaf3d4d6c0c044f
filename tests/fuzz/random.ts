import { hash } from "../fixtures/formula.ts";

/** Random numbers of one input: the same for the same seed, target and index, so that any input can be made again. */
export class Random {
  readonly #name: string;
  #drawn = 0;

  /** The numbers of input `index` of a target. */
  constructor(seed: number, target: string, index: number) {
    this.#name = `${seed}/${target}/${index}`;
  }

  /** A whole number of 0 to `count` − 1. */
  below(count: number): number {
    return Math.floor(hash(this.#name, this.#drawn++) / 2 ** 32 * count);
  }

  /** True so many times in a hundred. */
  percent(share: number): boolean {
    return this.below(100) < share;
  }

  /** One of a list. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}
