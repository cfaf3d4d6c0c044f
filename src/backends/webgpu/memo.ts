/**
 * The most recent results of a computation, by key. A network repeats its kernels, and printing one takes longer than
 * looking it up.
 */
export class Memo<R> {
  readonly #results = new Map<string, R>();
  readonly #capacity: number;

  /** Keeps up to `capacity` results. */
  constructor(capacity: number = 256) {
    this.#capacity = capacity;
  }

  /** The result for a key: the one kept, or else what `compute` returns now. */
  of(key: string, compute: () => R): R {
    const known = this.#results.get(key);
    if (known !== undefined) return known;
    const result = compute();
    if (this.#results.size === this.#capacity) {
      const [oldest = key] = this.#results.keys();
      this.#results.delete(oldest);
    }
    this.#results.set(key, result);
    return result;
  }
}
