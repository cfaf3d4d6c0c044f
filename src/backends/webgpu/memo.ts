/**
 * The last results of a computation, `most` of them, by what they were computed from. A network has the same kernel many
 * times over, and writing one takes longer than finding it.
 */
export class Memo<R> {
  readonly #results = new Map<string, R>();
  readonly #most: number;

  constructor(most: number = 256) {
    this.#most = most;
  }

  /** What `compute` gave for this key, or gives now. */
  of(key: string, compute: () => R): R {
    const known = this.#results.get(key);
    if (known !== undefined) return known;
    const result = compute();
    if (this.#results.size === this.#most) this.#results.delete(this.#results.keys().next().value!);
    this.#results.set(key, result);
    return result;
  }
}
