import { at } from "../../base/at.ts";
import type { ModuleCost } from "./estimates.ts";

/** The costs of the modules of a network. */
export interface ModuleCosts {
  /** The number of blocks. */
  readonly blocks: number;
  /** The number of modules. */
  readonly modules: number;
  /** Returns the cost of a module of blocks `start … end − 1`. */
  cost(start: number, end: number): ModuleCost;
}

/** A cut of a network: the end of each module, and what the cut costs. */
export interface Cut {
  readonly ends: readonly number[];
  /** The most that a module needs. */
  readonly bytes: number;
  /** What all take together. */
  readonly seconds: number;
}

/** Finds the cut of least time none of whose modules needs more than `bytes`; undefined if there is none. */
export function fastestCut(costs: ModuleCosts, bytes: number): Cut | undefined {
  return bestEnds(costs, (cost) => cost.bytes <= bytes ? cost.seconds : Infinity, (a, b) => a + b);
}

/** Finds the cut whose largest module is smallest. */
export function leanestCut(costs: ModuleCosts): Cut {
  const cut = bestEnds(costs, (cost) => cost.bytes, Math.max);
  if (cut === undefined) throw new RangeError("more modules than blocks");
  return cut;
}

/** The cut of lowest value, by dynamic programming over the number of modules and their ends. */
function bestEnds(
  costs: ModuleCosts,
  valueOf: (cost: ModuleCost) => number,
  join: (before: number, own: number) => number,
): Cut | undefined {
  const { blocks, modules } = costs;
  /** The lowest value of the first modules that end before each block. */
  let before = new Map([[0, 0]]);
  const starts: Map<number, number>[] = [];
  for (let module = 0; module < modules; module++) {
    const isLast = module === modules - 1;
    const values = new Map<number, number>(), from = new Map<number, number>();
    for (let end = isLast ? blocks : module + 1; end <= blocks - (modules - 1 - module); end++) {
      for (const [start, value] of before) {
        if (start >= end) continue;
        const total = join(value, valueOf(costs.cost(start, end)));
        if (total < (values.get(end) ?? Infinity)) {
          values.set(end, total);
          from.set(end, start);
        }
      }
    }
    before = values;
    starts.push(from);
  }
  if (!before.has(blocks)) return undefined;
  const ends = [blocks];
  for (let module = modules - 1; module > 0; module--) {
    ends.unshift(starts[module]?.get(at(ends, 0)) ?? 0);
  }
  const each = ends.map((end, i) => costs.cost(i === 0 ? 0 : at(ends, i - 1), end));
  return {
    ends,
    bytes: Math.max(...each.map(({ bytes }) => bytes)),
    seconds: each.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}
