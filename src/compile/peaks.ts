/** Bytes held over time, with ranges added to and the fullest moment found in logarithmic time: a segment tree. */
export class Peaks {
  readonly #leaves: number;
  /** For each node: what was added to all of it, and the most within it, that included. */
  readonly #added: Float64Array;
  readonly #most: Float64Array;

  /** Starts from the bytes held at each moment. */
  constructor(held: ArrayLike<number>) {
    this.#leaves = 2 ** Math.ceil(Math.log2(Math.max(1, held.length)));
    this.#added = new Float64Array(2 * this.#leaves);
    this.#most = new Float64Array(2 * this.#leaves).fill(-Infinity);
    for (let i = 0; i < held.length; i++) this.#most[this.#leaves + i] = held[i];
    for (let node = this.#leaves - 1; node > 0; node--) this.#update(node);
  }

  /** Adds to moments `from … to − 1`. */
  add(from: number, to: number, bytes: number): void {
    if (from >= to) return;
    let [low, high] = [from + this.#leaves, to + this.#leaves];
    const [first, last] = [low, high - 1];
    for (; low < high; low >>= 1, high >>= 1) {
      if (low & 1) this.#raise(low++, bytes);
      if (high & 1) this.#raise(--high, bytes);
    }
    for (const leaf of [first, last]) for (let node = leaf >> 1; node > 0; node >>= 1) this.#update(node);
  }

  /** The fullest moment, the earliest of several, and what it holds. */
  fullest(): { at: number; bytes: number } {
    let node = 1;
    while (node < this.#leaves) {
      node = this.#most[2 * node] >= this.#most[2 * node + 1] ? 2 * node : 2 * node + 1;
    }
    return { at: node - this.#leaves, bytes: this.#most[1] };
  }

  #raise(node: number, bytes: number): void {
    this.#added[node] += bytes;
    this.#most[node] += bytes;
  }

  #update(node: number): void {
    this.#most[node] = Math.max(this.#most[2 * node], this.#most[2 * node + 1]) + this.#added[node];
  }
}
