import { LocalgradError } from "../base/errors.ts";
import { type Aval, bytesOf, formatAval } from "../trace/dtype.ts";

/** The number of arrays that are listed. */
const OLDEST = 5;

/** The arrays that are alive on a device, oldest first. */
export class AliveArrays<T extends Aval> {
  /** Each with its number among all that were made. */
  readonly #numbers = new Map<T, number>();
  #made = 0;

  /** The number of arrays. */
  get count(): number {
    return this.#numbers.size;
  }
  /** A copy of the list. */
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
    const bytes = this.all.reduce((sum, array) => sum + bytesOf(array), 0);
    const oldest = [...this.#numbers].slice(0, OLDEST).map(([array, number]) =>
      `${formatAval(array)} (no. ${number})`
    );
    const count = this.count === 1 ? "1 array is" : `${this.count} arrays are`;
    return `${count} alive on this device, ${
      (bytes / 2 ** 20).toFixed(1)
    } MiB in all; the oldest of ${this.#made} made: ` +
      `${oldest.join(", ")}; dispose of those that are no longer used, or declare them with using`;
  }
}
