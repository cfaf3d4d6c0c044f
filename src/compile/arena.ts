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

/** Values below this part of the largest are kept apart, lest one of them splits the room of a large one. */
const SMALL = 1 / 64;

/**
 * Gives every interval an offset so that no two that overlap in time overlap in memory. Steps are gone through in
 * order; each interval takes the tightest gap it fits. Small intervals have the bottom of the arena to themselves:
 * among large ones, whose sizes repeat, gaps then fit exactly again and again.
 */
export function packArena(
  intervals: readonly Interval[],
  limits: ArenaLimits,
): { readonly offsets: Float64Array; readonly arenaBytes: number } {
  const offsets = new Float64Array(intervals.length);
  const largest = intervals.reduce((max, { bytes }) => Math.max(max, bytes), 0);
  const isSmall = ({ bytes }: Interval) => bytes < largest * SMALL;
  const order = intervals.map((_, i) => i).sort((a, b) =>
    intervals[a].start - intervals[b].start || intervals[b].bytes - intervals[a].bytes || a - b
  );
  let arenaBytes = 0;
  for (const small of [true, false]) {
    const chosen = order.filter((i) => isSmall(intervals[i]) === small);
    arenaBytes = pack(intervals, chosen, offsets, arenaBytes, limits);
  }
  return { offsets, arenaBytes };
}

/** Packs the intervals `order` from `bottom` up; gives the end of the highest. */
function pack(
  intervals: readonly Interval[],
  order: readonly number[],
  offsets: Float64Array,
  bottom: number,
  { alignment, segmentBytes }: ArenaLimits,
): number {
  const ending = order.toSorted((a, b) => intervals[a].end - intervals[b].end);
  const gaps = new Gaps(roundUp(bottom, alignment), segmentBytes);
  const room = (i: number) => roundUp(intervals[i].bytes, alignment);
  let arenaBytes = bottom;
  let freed = 0;
  for (const i of order) {
    while (freed < ending.length && intervals[ending[freed]].end < intervals[i].start) {
      const gone = ending[freed++];
      gaps.free(offsets[gone], room(gone));
    }
    offsets[i] = gaps.take(room(i));
    arenaBytes = Math.max(arenaBytes, offsets[i] + intervals[i].bytes);
  }
  return arenaBytes;
}

/** Free memory, as gaps in ascending order; beyond the top all is free. */
class Gaps {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #segmentBytes: number;
  #top: number;

  constructor(bottom: number, segmentBytes: number) {
    this.#top = bottom;
    this.#segmentBytes = segmentBytes;
  }

  /** Takes bytes from the tightest gap, or from the top. */
  take(bytes: number): number {
    let best = -1;
    for (let i = 0; i < this.#starts.length; i++) {
      const size = this.#ends[i] - this.#starts[i];
      if (size >= bytes && (best < 0 || size < this.#ends[best] - this.#starts[best])) best = i;
    }
    if (best < 0) return this.#grow(bytes);
    const start = this.#starts[best];
    if (this.#ends[best] - start > bytes) this.#starts[best] = start + bytes;
    else {
      this.#starts.splice(best, 1);
      this.#ends.splice(best, 1);
    }
    return start;
  }

  /** Gives memory back, joined with the gaps around it as far as the segment goes. */
  free(start: number, bytes: number): void {
    let end = start + bytes;
    let at = this.#starts.length;
    while (at > 0 && this.#starts[at - 1] > start) at--;
    if (at < this.#starts.length && this.#starts[at] === end && end % this.#segmentBytes !== 0) {
      end = this.#ends[at];
      this.#starts.splice(at, 1);
      this.#ends.splice(at, 1);
    }
    if (at > 0 && this.#ends[at - 1] === start && start % this.#segmentBytes !== 0) {
      this.#ends[at - 1] = end;
    } else {
      this.#starts.splice(at, 0, start);
      this.#ends.splice(at, 0, end);
    }
  }

  #grow(bytes: number): number {
    const segmentEnd = (Math.floor(this.#top / this.#segmentBytes) + 1) * this.#segmentBytes;
    const last = this.#starts.length - 1;
    const joins = last >= 0 && this.#ends[last] === this.#top && this.#top % this.#segmentBytes !== 0;
    const start = joins ? this.#starts[last] : this.#top;
    if (start + bytes > segmentEnd) {
      if (!joins) this.free(this.#top, segmentEnd - this.#top);
      else this.#ends[last] = segmentEnd;
      this.#top = segmentEnd;
      return this.#grow(bytes);
    }
    if (joins) {
      this.#starts.pop();
      this.#ends.pop();
    }
    this.#top = start + bytes;
    return start;
  }
}

function roundUp(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
