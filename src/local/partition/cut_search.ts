import { at } from "../../base/at.ts";

/** The costs of cutting a row of blocks into modules, in bytes. */
export interface CutCosts {
  /** The number of blocks. */
  readonly blocks: number;
  /** The number of modules. */
  readonly modules: number;
  /**
   * Returns the peak of module `index` with blocks `start … end − 1`. It must not rise when blocks are removed from the
   * front. The search calls it as rarely as it can.
   */
  peak(index: number, start: number, end: number): number;
  /** Returns the persistent bytes of the auxiliary network after module `index`, if that ends before block `end`. */
  weight(index: number, end: number): number;
  /**
   * Returns the kind of that boundary. Among boundaries of one kind (the same auxiliary network, features of the same
   * shape) a module's peak must not fall when it gets more blocks; where a plan breaks that, the search may miss a better
   * cut, no more.
   */
  kind(index: number, end: number): string;
}

/** Bisection of the highest peak stops at this fraction of it and continues in single steps. */
const CLOSE = 1 / 200;

/**
 * Finds the end of each module that minimises the highest peak of all modules, then the sum of that peak and all weights.
 * Bisection finds the lowest limit for which a cut exists; then boundaries are moved as long as that lowers the sum.
 */
export function bestCut(costs: CutCosts): number[] {
  return new CutSearch(costs).run();
}

class CutSearch {
  readonly #costs: CutCosts;
  /** The peaks known so far, by kind of boundary. */
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
      const highest = found === undefined ? Infinity : this.#highest(found);
      // Above the limit if peaks were concluded from others that do not bound them.
      if (found !== undefined && highest < high) [best, high] = [found, highest];
      else low = limit;
    }
    return this.#improve(best);
  }

  /** Finds a cut with no peak above a limit. */
  #within(limit: number): number[] | undefined {
    const ends = this.#backward(limit);
    const isCut = ends?.every((end, index) => end > (ends[index - 1] ?? 0)) ?? true;
    return isCut ? ends : this.#forward(limit, 0, 0, new Set());
  }

  /**
   * From the last module to the first, each takes as many blocks as it can, and may end after the next one's start, which
   * then has fewer. If that leaves nothing of the next one, what is returned is no cut; if there is none, there is no cut.
   */
  #backward(limit: number): number[] | undefined {
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

  /** Finds ends of module `index`, which starts at `start`, and of those after it, by trying all but what failed before. */
  #forward(limit: number, index: number, start: number, failed: Set<string>): number[] | undefined {
    const { blocks, modules } = this.#costs;
    if (index === modules - 1) return this.#fits(index, start, blocks, limit) ? [blocks] : undefined;
    const key = `${index} ${start}`;
    if (failed.has(key)) return undefined;
    for (let end = start + 1; end <= blocks - (modules - 1 - index); end++) {
      if (!this.#fits(index, start, end, limit)) continue;
      const rest = this.#forward(limit, index + 1, end, failed);
      if (rest !== undefined) return [end, ...rest];
    }
    failed.add(key);
    return undefined;
  }

  /** Lists ends of module `index`, at `least` or later: the first of each kind of boundary. */
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

  /** Finds the first block that a module can start with within a limit, which must be 0 for the first module. */
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
    const known = this.#known.get(this.#costs.kind(index, end)) ?? [];
    const same = known.find((each) => each.start === start && each.end === end);
    if (same !== undefined) return same.peak <= limit;
    for (const each of known) {
      const [inside, around] = [
        each.start <= start && each.end >= end,
        each.start >= start && each.end <= end,
      ];
      if (inside && each.peak <= limit) return true;
      if (around && each.peak > limit) return false;
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
    return Math.max(...ends.map((end, index) => this.#peak(index, ends[index - 1] ?? 0, end)));
  }

  #total(ends: readonly number[]): number {
    const weights = ends.slice(0, -1).map((end, index) => this.#costs.weight(index, end));
    return this.#highest(ends) + weights.reduce((sum, weight) => sum + weight, 0);
  }

  /** Moves boundaries one at a time, by a block or two, as long as that lowers the sum. */
  #improve(ends: readonly number[]): number[] {
    let [best, least] = [[...ends], this.#total(ends)];
    for (let again = true; again;) {
      again = false;
      for (let index = 0; index < ends.length - 1; index++) {
        for (const by of [-2, -1, 1, 2]) {
          const end = at(best, index) + by;
          if (end <= (best[index - 1] ?? 0) || end >= at(best, index + 1)) continue;
          const moved = best.with(index, end);
          const total = this.#total(moved);
          if (total < least) [best, least, again] = [moved, total, true];
        }
      }
    }
    return best;
  }
}
