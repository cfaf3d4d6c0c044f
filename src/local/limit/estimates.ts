import { at } from "../../base/at.ts";
import { type Speeds, stepTime, totalTime } from "../step_time.ts";
import { type BalanceOptions, Stretches } from "../partition/stretches.ts";

/** What a module costs: the bytes it needs beside the values of the network, and the seconds of its part of a step. */
export interface ModuleCost {
  readonly bytes: number;
  readonly seconds: number;
}

/** Beyond this many equal blocks in a row each adds the same; recomputing keeps every fourth block's result. */
const ROW = 4;

/** Costs planned so far. Cuts of one network by one method, into any number of modules, share them. */
export type KnownCosts = Map<string, ModuleCost>;

/**
 * Estimates the costs of every module that a cut may have, from plans of a few short ones: what a block adds to a module
 * does not depend on the others, so that a module of many blocks costs the sum. Blocks of equal shapes are planned once.
 */
export class CutEstimates {
  readonly #stretches: Stretches;
  readonly #speeds: Speeds;
  readonly #known: KnownCosts;
  /** The costs of the blocks before each, in a module that continues after them. */
  readonly #before: readonly ModuleCost[];
  readonly #last = new Map<number, ModuleCost>();
  /** What the stem and the first block add to a module that goes on after them. */
  #first: ModuleCost | undefined;

  constructor(options: BalanceOptions, speeds: Speeds, known: KnownCosts) {
    this.#stretches = new Stretches(options);
    this.#speeds = speeds;
    this.#known = known;
    const before = [NOTHING, NOTHING]; // the first block comes with the stem
    for (let block = 1; block < this.blocks - 1; block++) {
      before.push(sum(at(before, block), this.#added(block)));
    }
    this.#before = before;
  }

  /** The number of blocks. */
  get blocks(): number {
    return this.#stretches.blocks;
  }
  /** The number of modules. */
  get modules(): number {
    return this.#stretches.modules;
  }

  /** Estimates a module of blocks `start … end − 1`, with the auxiliary network after it. */
  cost(start: number, end: number): ModuleCost {
    let last = this.#last.get(end);
    if (last === undefined) this.#last.set(end, last = this.#planned([end - 1], end === 1));
    if (end - start === 1) return last;
    const inside = difference(at(this.#before, end - 1), at(this.#before, Math.max(start, 1)));
    const cost = sum(inside, last);
    if (start > 0) return cost;
    return sum(cost, this.#first ??= difference(this.#planned([0, 1], true), this.#planned([1])));
  }

  /** The persistent bytes of the auxiliary network before block `end`. */
  weight(end: number): number {
    return this.#stretches.weight(this.#index(end), end);
  }

  /** What a block adds to the module that goes on after it. */
  #added(block: number): ModuleCost {
    const shape = this.#stretches.shape(block);
    let equal = 1;
    while (equal <= ROW && this.#stretches.shape(block + equal) === shape) equal++;
    const more = equal > ROW ? ROW : 1;
    const row = Array.from({ length: more + 1 }, (_, i) => block + i);
    return scaled(difference(this.#planned(row), this.#planned([block + more])), 1 / more);
  }

  /** The index of the module that ends before block `end`; some methods make other auxiliary networks for others. */
  #index(end: number): number {
    if (end === this.blocks) return this.modules - 1;
    const even = Math.ceil(end * this.modules / this.blocks) - 1;
    return Math.max(1, Math.min(even, this.modules - 2));
  }

  #planned(blocks: readonly number[], isFirst = false): ModuleCost {
    const end = at(blocks, blocks.length - 1) + 1;
    const index = isFirst ? 0 : Math.max(1, this.#index(end));
    const shapes = blocks.map((block) => this.#stretches.shape(block));
    const key = [isFirst ? "first" : "", ...shapes, this.#stretches.kind(index, end)].join("\n");
    let cost = this.#known.get(key);
    if (cost === undefined) {
      const { plan, apart } = this.#stretches.planned(index, blocks);
      cost = {
        bytes: plan.memory.arenaBytes + apart,
        seconds: totalTime(stepTime(plan, 0, this.#speeds)),
      };
      this.#known.set(key, cost);
    }
    return cost;
  }
}

const NOTHING: ModuleCost = { bytes: 0, seconds: 0 };

function sum(a: ModuleCost, b: ModuleCost): ModuleCost {
  return { bytes: a.bytes + b.bytes, seconds: a.seconds + b.seconds };
}

function difference(a: ModuleCost, b: ModuleCost): ModuleCost {
  return sum(a, scaled(b, -1));
}

function scaled({ bytes, seconds }: ModuleCost, by: number): ModuleCost {
  return { bytes: by * bytes, seconds: by * seconds };
}
