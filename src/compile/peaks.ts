/** Live bytes over time. Adds to a range, and finds the peak, in logarithmic time: a segment tree. */
export class Peaks {
  readonly #leaves: number;
  // Node n covers the ranges of nodes 2n and 2n + 1; node 1 is the root.
  /** Bytes added to all of a node's range. */
  readonly #added: Float64Array;
  /** The most bytes within a node's range, including what was added to all of it. */
  readonly #most: Float64Array;

  /** Starts from the bytes that are live at each step. */
  constructor(live: ArrayLike<number>) {
    this.#leaves = 2 ** Math.ceil(Math.log2(Math.max(1, live.length)));
    this.#added = new Float64Array(2 * this.#leaves);
    this.#most = new Float64Array(2 * this.#leaves).fill(-Infinity);
    this.#most.set(live, this.#leaves);
    for (let node = this.#leaves - 1; node > 0; node--) this.#update(node);
  }

  /** Adds to steps `from … to − 1`. */
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

  /** Returns the step at the peak, the earliest of several. */
  peak(): number {
    let node = 1;
    while (node < this.#leaves) {
      node = this.#mostIn(2 * node) >= this.#mostIn(2 * node + 1) ? 2 * node : 2 * node + 1;
    }
    return node - this.#leaves;
  }

  /** Returns the most bytes that are live at steps `from … to − 1`; −Infinity for none. */
  most(from: number, to: number): number {
    let most = -Infinity;
    /** Each node's part of the range, met from the root, with what was added to all of the nodes above. */
    const visit = (node: number, start: number, end: number, above: number): void => {
      if (end <= from || to <= start || above + this.#mostIn(node) <= most) return;
      if (from <= start && end <= to) most = above + this.#mostIn(node);
      else {
        const middle = (start + end) / 2;
        const added = above + this.#addedTo(node);
        visit(2 * node, start, middle, added);
        visit(2 * node + 1, middle, end, added);
      }
    };
    visit(1, 0, this.#leaves, 0);
    return most;
  }

  #mostIn(node: number): number {
    return this.#most[node] ?? -Infinity;
  }

  #addedTo(node: number): number {
    return this.#added[node] ?? 0;
  }

  #raise(node: number, bytes: number): void {
    this.#added[node] = this.#addedTo(node) + bytes;
    this.#most[node] = this.#mostIn(node) + bytes;
  }

  #update(node: number): void {
    this.#most[node] = Math.max(this.#mostIn(2 * node), this.#mostIn(2 * node + 1)) + this.#addedTo(node);
  }
}
