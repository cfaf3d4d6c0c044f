import { LocalgradError } from "../base/errors.ts";
import { type Aval, bytesOf, formatAval } from "../trace/dtype.ts";

/** The number of arrays that are listed. */
const OLDEST = 5;

/** Arrays of a tree that nobody has looked into, which are held together. */
export interface HeldArrays {
  /** The shape and dtype of each. */
  readonly avals: readonly Aval[];
  /** Frees their memory; `why` completes the error of any later use. */
  dispose(why: string): void;
}

/** The arrays that are alive on a device, oldest first. */
export class AliveArrays<T extends Aval> {
  /** Each with its number among all that were made. */
  readonly #numbers = new Map<T, number>();
  /** Those that are held together, with the number of the first. */
  readonly #held = new Map<HeldArrays, number>();
  #heldCount = 0;
  #made = 0;

  /** The number of arrays. */
  get count(): number {
    return this.#numbers.size + this.#heldCount;
  }
  /** A copy of the list of those that are held together. */
  get held(): HeldArrays[] {
    return [...this.#held.keys()];
  }
  /** Adds arrays that are held together. */
  hold(held: HeldArrays): void {
    this.#held.set(held, this.#made + 1);
    this.#made += held.avals.length;
    this.#heldCount += held.avals.length;
  }
  /** Removes those, because their memory was freed or given away, or they are arrays of their own from now on. */
  unhold(held: HeldArrays): void {
    if (this.#held.delete(held)) this.#heldCount -= held.avals.length;
  }
  /** A copy of the list of all others. */
  get all(): T[] {
    return [...this.#numbers.keys()];
  }
  /** Adds an array that was made. */
  add(array: T): void {
    this.#numbers.set(array, ++this.#made);
  }
  /** Removes one whose memory was freed or given away. */
  delete(array: T): void {
    this.#numbers.delete(array);
  }

  /** Runs `body`. If it fails for want of memory, the error says how many arrays are alive and which are the oldest. */
  explaining<R>(body: () => R): R {
    try {
      return body();
    } catch (error) {
      if (!(error instanceof LocalgradError) || error.code !== "tooLarge" || this.count === 0) throw error;
      throw new LocalgradError(`${error.message}; ${this.#text()}`, { cause: error, code: error.code });
    }
  }

  /** The oldest are the likeliest to have been forgotten, because a step replaces the arrays that it trains. */
  #text(): string {
    const numbered: (readonly [Aval, number])[] = [...this.#numbers];
    for (const [{ avals }, first] of this.#held) avals.forEach((aval, i) => numbered.push([aval, first + i]));
    const bytes = numbered.reduce((sum, [array]) => sum + bytesOf(array), 0);
    const oldest = numbered.sort(([, a], [, b]) => a - b).slice(0, OLDEST)
      .map(([array, number]) => `${formatAval(array)} (no. ${number})`);
    const count = this.count === 1 ? "1 array is" : `${this.count} arrays are`;
    return `${count} alive on this device, ${
      (bytes / 2 ** 20).toFixed(1)
    } MiB in all; the oldest of ${this.#made} made: ` +
      `${oldest.join(", ")}; dispose of those that are no longer used, or declare them with using`;
  }
}
