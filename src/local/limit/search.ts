import { at } from "../../base/at.ts";
import type { Recompute } from "../../compile/recomputation.ts";
import { network } from "../../models/model.ts";
import { type Aval, bytesOf } from "../../trace/dtype.ts";
import { treeLeaves } from "../../trace/tree.ts";
import { slotsOf } from "../average.ts";
import { withCut } from "../partition/balance.ts";
import type { Method } from "../method.ts";
import { endToEnd } from "../methods/end_to_end.ts";
import { type Modules, whole } from "../partition/partition.ts";
import { batchAvals } from "../step_inputs.ts";
import { type Cut, fastestCut, leanestCut } from "./cuts.ts";
import { CutEstimates, type KnownCosts } from "./estimates.ts";
import { type PlannedWay, planWay, type Run } from "./way.ts";

/** What a search may choose from. */
export interface Choices {
  readonly limit: number;
  readonly methods: readonly Method[];
  /** The cut; undefined to choose it. */
  readonly modules?: Modules;
  /** The numbers of micro-batches. */
  readonly accumulate: readonly number[];
  /** What to recompute; undefined for as little as possible within the limit. */
  readonly recompute?: Recompute;
}

/** A method with a number of modules, whose cut is not chosen yet, and what it is estimated to cost. */
interface Candidate {
  readonly method: Method;
  readonly accumulate: number;
  readonly estimates: CutEstimates;
  /** Bytes of the network, its optimizer, the batch and all auxiliary networks. */
  readonly persistent: number;
  readonly seconds: number;
  /** The estimated least peak. */
  readonly least: number;
  /** True unless the same is estimated with recomputation too. */
  readonly isLeanest: boolean;
}

/** Estimated times may be this much too high. */
const TOLERANCE = 0.02;
/** So may estimated bytes, also because no estimate knows what products can be recomputed. */
const BYTES_TOLERANCE = 0.15;
/** The next larger limit to tell of. */
const LARGER = 1.25;
/** A way that is faster by less is not worth mentioning. */
export const WORTHWHILE = 0.01;
/** So often is a number of modules cut again where the plan needs more than the estimate, and a larger limit tried. */
const ATTEMPTS = 3;

/**
 * Searches for the way of least predicted time within a limit. Cuts are estimated from plans of single blocks; then whole
 * steps are planned, those of least estimated time first, until no other can be faster.
 */
export class Search {
  readonly #run: Run;
  readonly #choices: Choices;
  /** All ways planned so far. */
  readonly planned: PlannedWay[] = [];
  /** Those that were planned for the limit. */
  readonly #within: PlannedWay[] = [];
  #best: PlannedWay | undefined;

  constructor(run: Run, choices: Choices) {
    this.#run = run;
    this.#choices = choices;
  }

  /** Returns the best way; undefined if none fits. */
  best(): PlannedWay | undefined {
    const { methods, accumulate } = this.#choices;
    const candidates = methods.flatMap((method) =>
      accumulate.flatMap((accumulate) => this.#candidates(method, accumulate))
    ).toSorted((a, b) => a.seconds - b.seconds);
    for (const candidate of candidates) if (this.#mayBeFaster(candidate)) this.#try(candidate);
    // Products are recomputed only if nothing else fits, at a price that no estimate knows.
    if (this.#best === undefined) this.#tryLeanest(byBytes(candidates).slice(0, 2));
    const { seconds = 0 } = this.#best ?? {};
    const faster = candidates.filter((each) => each.seconds < seconds * (1 - TOLERANCE));
    this.#tryLeanest(byBytes(faster).slice(0, 1));
    const most = this.#choices.limit * (1 + BYTES_TOLERANCE);
    this.#tryLeanest(faster.filter(({ isLeanest, least }) => isLeanest && least <= most).slice(0, 2));
    this.#allowMore();
    return this.#best;
  }

  /** Plans what a larger limit would change: the same way would recompute less, which need not be faster at once. */
  #allowMore(): void {
    const best = this.#best;
    if (best?.memory.recompute === undefined || this.#choices.recompute !== undefined) return;
    for (let times = 1; times <= ATTEMPTS; times++) {
      const recompute = { limit: this.#choices.limit * LARGER ** times, speeds: this.#run.speeds };
      const way = this.#record(planWay(this.#run, { ...best, recompute }));
      if (way.peakBytes > this.#choices.limit && way.seconds < best.seconds * (1 - WORTHWHILE)) break;
    }
  }

  #mayBeFaster({ seconds }: Candidate): boolean {
    return this.#best === undefined || seconds < this.#best.seconds * (1 + TOLERANCE);
  }

  /**
   * Plans a method at once if its cut is given or it has none; otherwise returns candidates, one for each number of
   * modules, with and without recomputation.
   */
  #candidates(method: Method, accumulate: number): Candidate[] {
    const { modules, recompute } = this.#choices;
    if (method.auxiliary === undefined) {
      const isPlain = method.name === endToEnd().name;
      for (const each of isPlain ? [method, endToEnd({ checkpoint: true })] : [method]) {
        this.#plan(each, accumulate, 1);
      }
      return [];
    }
    if (modules !== undefined) {
      // Boundaries change results, so they do not depend on what is recomputed within the limit.
      const { speeds: _speeds, ...run } = this.#run;
      const { modules: cut = modules } = withCut({
        ...run,
        ...{ method, modules, accumulate, recompute: recompute ?? true },
      });
      this.#plan(method, accumulate, cut);
      return [];
    }
    const levels = recompute === undefined ? [false, true] : [recompute];
    return levels.flatMap((recompute, i) =>
      this.#counts(method, accumulate, recompute, i === levels.length - 1)
    );
  }

  #counts(method: Method, accumulate: number, recompute: Recompute, isLeanest: boolean): Candidate[] {
    const { speeds, ...run } = this.#run;
    const known: KnownCosts = new Map();
    const base = this.#persistent();
    return countsOf(run.model.blocks.length).map((modules): Candidate => {
      const estimates = new CutEstimates({ ...run, method, accumulate, recompute, modules }, speeds, known);
      const leanest = leanestCut(estimates);
      const weights = leanest.ends.slice(0, -1).map((end) => estimates.weight(end));
      const persistent = weights.reduce((a, b) => a + b, base);
      const { seconds } = fastestCut(estimates, this.#choices.limit - persistent) ?? leanest;
      const least = persistent + leanest.bytes;
      return { method, accumulate, estimates, persistent, seconds, least, isLeanest };
    });
  }

  /** Bytes of the network's own values, of the optimizer's slots for them and of the batch. */
  #persistent(): number {
    const { model, batch, optimizer, average } = this.#run;
    const { params, state } = network(model);
    const slots = slotsOf(
      { optimizer, ...(average === undefined ? {} : { average }) },
      params,
      whole(model).modules,
    );
    const { x, labels } = batchAvals(model, batch);
    return treeLeaves<Aval>([params, state, slots])
      .reduce((sum, aval) => sum + bytesOf(aval), bytesOf(x) + bytesOf(labels));
  }

  /** Plans a candidate, again with smaller modules as long as it needs more than it was estimated to. */
  #try({ method, accumulate, estimates, persistent }: Candidate): void {
    let most = this.#choices.limit - persistent;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const cut = fastestCut(estimates, most);
      if (cut === undefined) return;
      const { peakBytes } = this.#plan(method, accumulate, this.#boundaries(cut));
      if (peakBytes <= this.#choices.limit) return;
      most = Math.min(most, cut.bytes) - (peakBytes - this.#choices.limit);
    }
  }

  /** Plans candidates with the smallest modules they can have. */
  #tryLeanest(candidates: readonly Candidate[]): void {
    for (const candidate of candidates) {
      if (!this.#mayBeFaster(candidate)) continue;
      const { method, accumulate, estimates } = candidate;
      this.#plan(method, accumulate, this.#boundaries(leanestCut(estimates)));
    }
  }

  /** Plans a way within the limit, once. */
  #plan(method: Method, accumulate: number, modules: Modules): PlannedWay {
    const before = this.#within.find((way) =>
      way.method === method && way.accumulate === accumulate && isSame(way.modules, modules)
    );
    if (before !== undefined) return before;
    const { limit, recompute = { limit, speeds: this.#run.speeds } } = this.#choices;
    const way = this.#record(planWay(this.#run, { method, accumulate, modules, recompute }));
    this.#within.push(way);
    return way;
  }

  /** Keeps a planned way: as the best if it fits, and is faster than what fitted before. */
  #record(way: PlannedWay): PlannedWay {
    this.planned.push(way);
    const fits = way.peakBytes <= this.#choices.limit;
    if (fits && way.seconds < (this.#best?.seconds ?? Infinity)) this.#best = way;
    return way;
  }

  #boundaries({ ends }: Cut): Modules {
    const { blocks } = this.#run.model;
    return { after: ends.slice(0, -1).map((end) => at(blocks, end - 1).name) };
  }
}

/** Candidates by their estimated least peaks, the lowest first. */
function byBytes(candidates: readonly Candidate[]): readonly Candidate[] {
  return candidates.toSorted((a, b) => a.least - b.least);
}

function isSame(a: Modules, b: Modules): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The numbers of modules to try: all small ones, then fewer and fewer. */
function countsOf(blocks: number): number[] {
  const counts = [2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48].filter((count) =>
    count < blocks
  );
  return blocks > 1 ? [...counts, blocks] : [1];
}
