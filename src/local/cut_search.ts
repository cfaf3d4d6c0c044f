/** What cutting a row of blocks into modules costs. */
export interface CutCosts {
  /** How many blocks there are. */
  readonly blocks: number;
  /** How many modules they are cut into. */
  readonly modules: number;
  /**
   * The peak of module `index` if it has blocks `start … end − 1`. Asked for as little as possible, and relied upon not
   * to rise when blocks are taken away from the front.
   */
  peak(index: number, start: number, end: number): number;
  /** What hangs on the boundary after module `index` if that ends before block `end`, and stays all the time. */
  weight(index: number, end: number): number;
  /**
   * What kind of boundary that is. Among boundaries of one kind (the same auxiliary network, features of the same
   * shape) a module's peak is taken not to fall when it is given more blocks.
   */
  kind(index: number, end: number): string;
}

/** The search for the highest peak stops short of this part of it, and goes on from there by single steps. */
const CLOSE = 1 / 200;

/**
 * Where each module ends, so that the highest of their peaks, and then its sum with all weights, is least: the highest
 * peak that still has a cut is found by bisection, then boundaries are moved while that makes the sum smaller.
 */
export function bestCut(costs: CutCosts): number[] {
  return new CutSearch(costs).run();
}

class CutSearch {
  readonly #costs: CutCosts;
  /** Peaks known, by kind of boundary. */
  readonly #known = new Map<string, { start: number; end: number; peak: number }[]>();

  constructor(costs: CutCosts) {
    this.#costs = costs;
  }

  run(): number[] {
    const { blocks, modules } = this.#costs;
    let best = Array.from({ length: modules }, (_, i) => Math.floor((i + 1) * blocks / modules));
    let high = this.#highest(best);
    let low = 0;
    while (low < high - 1) {
      const limit = high - low > CLOSE * high ? (low + high) / 2 : high - 1;
      const found = this.#within(limit);
      if (found === undefined) {
        low = limit;
      } else {
        best = found;
        high = this.#highest(found);
      }
    }
    return this.#improve(best);
  }

  /** A cut with no peak over a limit: from the end, each module takes as many blocks as it can. */
  #within(limit: number): number[] | undefined {
    const { blocks, modules } = this.#costs;
    const ends = [blocks];
    let start = blocks;
    for (let index = modules - 1; index >= 0; index--) {
      let earliest = Infinity;
      for (const end of index === modules - 1 ? [blocks] : this.#candidates(index, start)) {
        const from = this.#start(index, end, limit, earliest);
        if (from < earliest) [earliest, ends[index]] = [from, end];
      }
      if (earliest === Infinity) return undefined;
      start = earliest;
    }
    return ends;
  }

  /** Where module `index` may end so that the next starts at `least` or later: the first place of each kind. */
  #candidates(index: number, least: number): number[] {
    const { blocks, modules } = this.#costs;
    const ends: number[] = [];
    let before: string | undefined;
    for (let end = least; end <= blocks - (modules - 1 - index); end++) {
      const kind = this.#costs.kind(index, end);
      if (kind !== before) ends.push(end);
      before = kind;
    }
    return ends;
  }

  /** The first block that a module can start with and keep to a limit; only 0 will do for the first module. */
  #start(index: number, end: number, limit: number, below: number): number {
    const fits = (start: number) => this.#fits(index, start, end, limit);
    if (index === 0) return fits(0) ? 0 : Infinity;
    let [low, high] = [index, Math.min(end - 1, below)];
    if (high < low || !fits(high)) return Infinity;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (fits(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #fits(index: number, start: number, end: number, limit: number): boolean {
    for (const known of this.#known.get(this.#costs.kind(index, end)) ?? []) {
      const [inside, around] = [
        known.start <= start && known.end >= end,
        known.start >= start && known.end <= end,
      ];
      if (inside && known.peak <= limit) return true;
      if (around && known.peak > limit) return false;
    }
    return this.#peak(index, start, end) <= limit;
  }

  #peak(index: number, start: number, end: number): number {
    const kind = this.#costs.kind(index, end);
    const known = this.#known.get(kind) ?? [];
    if (known.length === 0) this.#known.set(kind, known);
    const found = known.find((each) => each.start === start && each.end === end);
    if (found !== undefined) return found.peak;
    const peak = this.#costs.peak(index, start, end);
    known.push({ start, end, peak });
    return peak;
  }

  #highest(ends: readonly number[]): number {
    return Math.max(...ends.map((end, index) => this.#peak(index, index === 0 ? 0 : ends[index - 1], end)));
  }

  #total(ends: readonly number[]): number {
    const weights = ends.slice(0, -1).map((end, index) => this.#costs.weight(index, end));
    return this.#highest(ends) + weights.reduce((sum, weight) => sum + weight, 0);
  }

  /** Moves one boundary after another by a block or two while the sum gets smaller. */
  #improve(ends: readonly number[]): number[] {
    let [best, least] = [[...ends], this.#total(ends)];
    for (let again = true; again;) {
      again = false;
      for (let index = 0; index < ends.length - 1; index++) {
        for (const by of [-2, -1, 1, 2]) {
          const moved = best.with(index, best[index] + by);
          const before = index === 0 ? 0 : moved[index - 1];
          if (moved[index] <= before || moved[index] >= moved[index + 1]) continue;
          const total = this.#total(moved);
          if (total < least) [best, least, again] = [moved, total, true];
        }
      }
    }
    return best;
  }
}
