import { hash } from "../fixtures/formula.ts";

/** Random numbers for one input. They depend only on seed, target and index, so that any input can be made again. */
export class Random {
  readonly #name: string;
  #drawn = 0;

  /** The random numbers for input `index` of a target. */
  constructor(seed: number, target: string, index: number) {
    this.#name = `${seed}/${target}/${index}`;
  }

  /** An integer from 0 to `count` − 1. */
  below(count: number): number {
    return Math.floor(hash(this.#name, this.#drawn++) / 2 ** 32 * count);
  }

  /** True with this probability, in per cent. */
  percent(share: number): boolean {
    return this.below(100) < share;
  }

  /** A random element of a list. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}
