import { at } from "../base/at.ts";

/** A node of the tree. */
interface Node {
  /** Bytes added to all of its range. */
  added: number;
  /** The most bytes within its range, including what was added to all of it. */
  most: number;
}

/** Live bytes over time. Adds to a range, and finds the peak, in logarithmic time: a segment tree. */
export class Peaks {
  readonly #leaves: number;
  /** Node n covers the ranges of nodes 2n and 2n + 1; node 1 is the root. */
  readonly #nodes: readonly Node[];

  /** Starts from the bytes that are live at each step. */
  constructor(live: readonly number[]) {
    this.#leaves = 2 ** Math.ceil(Math.log2(Math.max(1, live.length)));
    this.#nodes = Array.from({ length: 2 * this.#leaves }, (_, node) => ({
      added: 0,
      most: live[node - this.#leaves] ?? -Infinity,
    }));
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
      node = at(this.#nodes, 2 * node).most >= at(this.#nodes, 2 * node + 1).most ? 2 * node : 2 * node + 1;
    }
    return node - this.#leaves;
  }

  #raise(index: number, bytes: number): void {
    const node = at(this.#nodes, index);
    node.added += bytes;
    node.most += bytes;
  }

  #update(index: number): void {
    const node = at(this.#nodes, index);
    node.most = Math.max(at(this.#nodes, 2 * index).most, at(this.#nodes, 2 * index + 1).most) + node.added;
  }
}
