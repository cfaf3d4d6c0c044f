/** A block of memory that is live from one step to another, both included. */
export interface Interval {
  /** Its size. */
  readonly bytes: number;
  /** The first step that needs it. */
  readonly start: number;
  /** The last step that needs it. */
  readonly end: number;
}

/** Constraints on the offsets in an arena. */
interface ArenaLimits {
  /** Every offset is a multiple of this. */
  readonly alignment: number;
  /** No interval crosses a multiple of this. */
  readonly segmentBytes: number;
  /** True to leave what is free in large pieces, where the arena need not grow for that. */
  readonly usesSpare?: boolean;
}

/** The result of {@link packArena}. */
interface Packing {
  /** The first byte of each interval. */
  readonly offsets: readonly number[];
  /** The end of the highest interval. */
  readonly arenaBytes: number;
  /** The number of pairs of intervals that were compared: the work that grows fastest. */
  readonly compared: number;
}

/** An arena that exceeds the most live bytes by at most this fraction is not packed again in another order. */
const WASTE = 1 / 1000;

type Order = (a: Interval, b: Interval) => number;

/** Orders to place intervals in: largest first; largest size × lifetime first; longest-lived first; earliest first. */
const orders: readonly Order[] = [
  (a, b) => b.bytes - a.bytes || a.start - b.start,
  (a, b) => b.bytes * (b.end - b.start + 1) - a.bytes * (a.end - a.start + 1) || a.start - b.start,
  (a, b) => b.end - b.start - (a.end - a.start) || b.bytes - a.bytes || a.start - b.start,
  (a, b) => a.start - b.start || b.bytes - a.bytes,
];

/** Largest first, and of one size the longest-lived: what lives shortly is above, so that what is free is in one piece. */
const together: Order = (a, b) =>
  b.bytes - a.bytes || b.end - b.start - (a.end - a.start) || a.start - b.start;

/**
 * Assigns every interval an offset so that no two intervals that overlap in time overlap in memory. The largest are
 * placed first, each in the tightest gap between those live at the same time; small ones then fill the remaining gaps.
 * For training steps of residual networks, the arena is then hardly larger than the most bytes live at once. Where it
 * is, the other orders are tried as well and the smallest arena is kept. Work grows with the number of pairs that
 * overlap in time.
 */
export function packArena(intervals: readonly Interval[], limits: ArenaLimits): Packing {
  const enough = mostLive(intervals) * (1 + WASTE);
  let best: Packing = { offsets: [], arenaBytes: Infinity, compared: 0 };
  let compared = 0;
  for (const order of orders) {
    const packing = packInOrder(intervals, order, limits, best.arenaBytes);
    compared += packing.compared;
    if (packing.arenaBytes < best.arenaBytes) best = packing;
    if (best.arenaBytes <= enough) break;
  }
  if (limits.usesSpare === true) {
    const packing = packInOrder(intervals, together, limits, best.arenaBytes + 1);
    compared += packing.compared;
    if (packing.arenaBytes <= best.arenaBytes) best = packing;
  }
  return { ...best, compared };
}

/** The most bytes that are live at once. */
function mostLive(intervals: readonly Interval[]): number {
  const changes = new Map<number, number>();
  const add = (step: number, bytes: number) => changes.set(step, (changes.get(step) ?? 0) + bytes);
  for (const { bytes, start, end } of intervals) {
    add(start, bytes);
    add(end + 1, -bytes);
  }
  let [live, most] = [0, 0];
  for (const [, change] of [...changes].sort(([a], [b]) => a - b)) most = Math.max(most, live += change);
  return most;
}

/** An interval with a place in the arena. */
interface Placed {
  readonly interval: Interval;
  /** The first byte. */
  readonly from: number;
  /** The byte after the last. */
  readonly to: number;
}

/** Places intervals in an order; stops once the arena is as large as `known`, the best of another order. */
function packInOrder(
  intervals: readonly Interval[],
  by: Order,
  { alignment, segmentBytes }: ArenaLimits,
  known: number,
): Packing {
  const offsets = new Array<number>(intervals.length).fill(0);
  const placed = new PlacedIntervals(intervals);
  let arenaBytes = 0;
  let compared = 0;
  const order = intervals.map((interval, index) => ({ interval, index }))
    .sort((a, b) => by(a.interval, b.interval));
  for (const { interval, index } of order) {
    const { bytes } = interval;
    /** The first offset in the gap from `low` to `high` that is aligned and within one segment; −1 if none. */
    const fit = (low: number, high: number): number => {
      let start = roundUp(low, alignment);
      const segment = Math.floor(start / segmentBytes);
      if (start + bytes > (segment + 1) * segmentBytes) start = (segment + 1) * segmentBytes;
      return start + bytes <= high ? start : -1;
    };
    let [best, tightest, covered] = [-1, Infinity, 0];
    const others = placed.during(interval).sort((a, b) => a.from - b.from);
    compared += others.length;
    for (const other of others) {
      const gap = other.from - covered;
      const start = gap < tightest ? fit(covered, other.from) : -1;
      if (start >= 0) [best, tightest] = [start, gap];
      covered = Math.max(covered, other.to);
    }
    const from = best >= 0 ? best : fit(covered, Infinity);
    offsets[index] = from;
    arenaBytes = Math.max(arenaBytes, from + bytes);
    if (arenaBytes >= known) break;
    placed.add({ interval, from, to: from + bytes });
  }
  return { offsets, arenaBytes, compared };
}

/** Placed intervals by time: a segment tree of the intervals that cover each step, and lists by first step. */
class PlacedIntervals {
  readonly #leaves: number;
  /** Node n covers the steps of nodes 2n and 2n + 1; an interval is in the few nodes that add up to it. */
  readonly #covering: (Placed[] | undefined)[];
  readonly #starting: (Placed[] | undefined)[];

  constructor(intervals: readonly Interval[]) {
    const steps = intervals.reduce((most, { end }) => Math.max(most, end + 1), 1);
    this.#leaves = 2 ** Math.ceil(Math.log2(steps));
    this.#covering = new Array(2 * this.#leaves);
    this.#starting = new Array(steps);
  }

  add(placed: Placed): void {
    const { start, end } = placed.interval;
    (this.#starting[start] ??= []).push(placed);
    let [low, high] = [start + this.#leaves, end + this.#leaves + 1];
    for (; low < high; low >>= 1, high >>= 1) {
      if (low & 1) (this.#covering[low++] ??= []).push(placed);
      if (high & 1) (this.#covering[--high] ??= []).push(placed);
    }
  }

  /** The intervals that overlap one in time: those that cover its first step, and those that start later within it. */
  during({ start, end }: Interval): Placed[] {
    const found: Placed[] = [];
    for (let node = start + this.#leaves; node > 0; node >>= 1) {
      for (const placed of this.#covering[node] ?? []) found.push(placed);
    }
    for (let step = start + 1; step <= end; step++) {
      for (const placed of this.#starting[step] ?? []) found.push(placed);
    }
    return found;
  }
}

function roundUp(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
