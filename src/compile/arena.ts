/** Memory held from one step to another, both included. */
export interface Interval {
  /** Its size. */
  readonly bytes: number;
  /** The step that first needs it. */
  readonly start: number;
  /** The step that last needs it. */
  readonly end: number;
}

/** What an arena must keep to. */
export interface ArenaLimits {
  /** Offsets are multiples of this. */
  readonly alignment: number;
  /** No interval crosses a multiple of this. */
  readonly segmentBytes: number;
}

/** Where {@link packArena} puts things. */
export interface Packing {
  /** The first byte of each interval. */
  readonly offsets: Float64Array;
  /** The end of the highest. */
  readonly arenaBytes: number;
  /** How many pairs of intervals were compared: the work that grows fastest. */
  readonly compared: number;
}

/** An arena that takes at most this part more than is held at once is not tried again in another order. */
const WASTE = 1 / 1000;

/** Orders to place intervals in: by size; by how much they hold for how long; those that live longest first. */
const orders: readonly ((a: Interval, b: Interval) => number)[] = [
  (a, b) => b.bytes - a.bytes || a.start - b.start,
  (a, b) => b.bytes * (b.end - b.start + 1) - a.bytes * (a.end - a.start + 1) || a.start - b.start,
  (a, b) => b.end - b.start - (a.end - a.start) || b.bytes - a.bytes || a.start - b.start,
  (a, b) => a.start - b.start || b.bytes - a.bytes,
];

/**
 * Gives every interval an offset so that no two that overlap in time overlap in memory. The largest are placed first,
 * each in the tightest gap between those already there at its time; small ones then fill what is left. On training
 * steps of residual networks this needs hardly more than the most that is held at once; where it needs more, other
 * orders are tried too, and the best is taken. Work grows with the number of pairs that overlap in time.
 */
export function packArena(intervals: readonly Interval[], limits: ArenaLimits): Packing {
  const enough = mostHeld(intervals) * (1 + WASTE);
  let best: Packing | undefined;
  let compared = 0;
  for (const order of orders) {
    const packing = packInOrder(intervals, order, limits, best?.arenaBytes ?? Infinity);
    compared += packing.compared;
    if (best === undefined || packing.arenaBytes < best.arenaBytes) best = packing;
    if (best.arenaBytes <= enough) break;
  }
  return { ...best!, compared };
}

/** The most bytes held at once. */
function mostHeld(intervals: readonly Interval[]): number {
  const change = new Map<number, number>();
  const add = (at: number, bytes: number) => change.set(at, (change.get(at) ?? 0) + bytes);
  for (const { bytes, start, end } of intervals) {
    add(start, bytes);
    add(end + 1, -bytes);
  }
  let [held, most] = [0, 0];
  for (const at of [...change.keys()].sort((a, b) => a - b)) most = Math.max(most, held += change.get(at)!);
  return most;
}

/** Places intervals in an order; gives up once that takes as much as another order did, `known`. */
function packInOrder(
  intervals: readonly Interval[],
  by: (a: Interval, b: Interval) => number,
  { alignment, segmentBytes }: ArenaLimits,
  known: number,
): Packing {
  const offsets = new Float64Array(intervals.length);
  const ends = new Float64Array(intervals.length);
  const order = intervals.map((_, i) => i).sort((a, b) => by(intervals[a], intervals[b]));
  const placed = new Placed(intervals);
  let arenaBytes = 0;
  let compared = 0;
  for (const i of order) {
    const { bytes } = intervals[i];
    // Where in the gap from `from` to `to` it can start: aligned, and within one segment.
    const fit = (from: number, to: number): number => {
      let start = roundUp(from, alignment);
      const segment = Math.floor(start / segmentBytes);
      if (start + bytes > (segment + 1) * segmentBytes) start = (segment + 1) * segmentBytes;
      return start + bytes <= to ? start : -1;
    };
    let [best, tightest, covered] = [-1, Infinity, 0];
    const others = placed.during(intervals[i]).sort((a, b) => offsets[a] - offsets[b]);
    compared += others.length;
    for (const other of others) {
      const start = offsets[other] - covered < tightest ? fit(covered, offsets[other]) : -1;
      if (start >= 0) [best, tightest] = [start, offsets[other] - covered];
      covered = Math.max(covered, ends[other]);
    }
    offsets[i] = best >= 0 ? best : fit(covered, Infinity);
    ends[i] = offsets[i] + bytes;
    arenaBytes = Math.max(arenaBytes, ends[i]);
    if (arenaBytes >= known) break;
    placed.add(i);
  }
  return { offsets, arenaBytes, compared };
}

/** Intervals that have a place, found by time: a segment tree of those that cover a step, and lists by first step. */
class Placed {
  readonly #intervals: readonly Interval[];
  readonly #leaves: number;
  /** Node n covers the steps of nodes 2n and 2n + 1; an interval is in the few nodes that make it up. */
  readonly #covering: (number[] | undefined)[];
  readonly #starting: (number[] | undefined)[];

  constructor(intervals: readonly Interval[]) {
    this.#intervals = intervals;
    const steps = intervals.reduce((most, { end }) => Math.max(most, end + 1), 1);
    this.#leaves = 2 ** Math.ceil(Math.log2(steps));
    this.#covering = new Array(2 * this.#leaves);
    this.#starting = new Array(steps);
  }

  add(i: number): void {
    const { start, end } = this.#intervals[i];
    (this.#starting[start] ??= []).push(i);
    let [low, high] = [start + this.#leaves, end + this.#leaves + 1];
    for (; low < high; low >>= 1, high >>= 1) {
      if (low & 1) (this.#covering[low++] ??= []).push(i);
      if (high & 1) (this.#covering[--high] ??= []).push(i);
    }
  }

  /** Those that overlap an interval in time: what covers its first step, and what starts later within it. */
  during({ start, end }: Interval): number[] {
    const found: number[] = [];
    for (let node = start + this.#leaves; node > 0; node >>= 1) {
      for (const i of this.#covering[node] ?? []) found.push(i);
    }
    for (let step = start + 1; step <= end; step++) {
      for (const i of this.#starting[step] ?? []) found.push(i);
    }
    return found;
  }
}

function roundUp(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
