import type { Plan } from "./plan.ts";
import { rematerialise } from "./rematerialise.ts";
import type { StepSequence } from "./step_sequence.ts";
import type { Speeds } from "./time.ts";
import type { Program } from "../trace/program.ts";

/** Peaks to plan for: each is lower than the one before by this factor. */
const RATIO = 2 ** (1 / 16);
/** The lowest peak to plan for, as a fraction of the plain one. */
const LOWEST = 1 / 64;
/** The times that values are chosen for one peak; each starts from what the one before really gave. */
const ROUNDS = 3;
/** A round that leaves a peak above the one that is planned for by this factor is the last too. */
const HOPELESS = 1.25;
/** A round that lowers the peak by less than this fraction is the last. */
const WORTHWHILE = 1 / 200;
/** After this many peaks in a row that cannot be reached, lower ones are not tried. */
const PATIENCE = 2;
/** In programs of more instructions, plans for peaks above the limit by more than this factor are left out. */
const LARGE = 4000;
const MARGIN = 1.06;

/** The passes between a program and its plan. */
export interface Passes<C extends { readonly sequence: StepSequence }> {
  /** The program in steps, without recomputation that costs anything. */
  readonly plain: C;
  /** Its plan. */
  readonly plan: Plan;
  /** The program in steps, with all cheap recomputation. */
  lean(): C;
  /** Brings a rewritten program into steps. */
  sequenced(program: Program): C;
  /** Gives the values of a program in steps their places. */
  placed(candidate: C): Plan;
}

/** A plan for some peak. */
interface Attempt<C> {
  readonly candidate: C;
  readonly plan: Plan;
  /** True if no more than the peak it was for is live at once. */
  readonly reached: boolean;
}

/**
 * Plans of one program that recompute more and more. The peaks that they are for do not depend on any limit, and the plan
 * for a limit is the first whose real peak keeps to it: so a lower limit never gives a higher peak.
 */
export class PlansWithin<C extends { readonly sequence: StepSequence }> {
  readonly #passes: Passes<C>;
  readonly #speeds: Speeds;
  readonly #attempts = new Map<number, Attempt<C>>();
  #lean: C | undefined;

  /** Plans nothing yet. */
  constructor(passes: Passes<C>, speeds: Speeds) {
    this.#passes = passes;
    this.#speeds = speeds;
  }

  /** Returns the plan for a limit on the bytes of the whole plan; the least that is found if none is within it. */
  plan(limit: number): Plan {
    const { plain, plan } = this.#passes;
    if (plan.memory.peakBytes <= limit) return plan;
    const outside = plan.memory.peakBytes - plain.sequence.peak;
    const last = Math.floor(Math.log(1 / LOWEST) / Math.log(RATIO));
    let first = 1;
    if (plain.sequence.draft.program.instructions.length > LARGE) {
      while (first < last && this.#peak(first) + outside > limit * MARGIN) first++;
    }
    let failures = 0;
    for (let index = first; index <= last && failures < PATIENCE; index++) {
      const { plan, reached } = this.#attempt(index);
      if (plan.memory.peakBytes <= limit) return plan;
      failures = reached ? 0 : failures + 1;
    }
    return this.#least(first, last);
  }

  /** Returns the plan of least peak, found around the lowest peak that can be reached. */
  #least(first: number, last: number): Plan {
    let [low, high] = [0, first];
    // The lowest that is reached lies between the plain peak and the first that was tried, unless that was reached.
    while (high - low > 1 && !this.#attempt(first).reached) {
      const middle = (low + high) >> 1;
      if (this.#attempt(middle).reached) low = middle;
      else high = middle;
    }
    for (let index = high; index < Math.min(last, high + PATIENCE); index++) this.#attempt(index);
    const plans = [...this.#attempts.values()].map(({ plan }) => plan);
    return plans.reduce(
      (least, plan) => plan.memory.peakBytes < least.memory.peakBytes ? plan : least,
      this.#passes.plan,
    );
  }

  /** The most bytes that are to be live at once in the plan of an index. */
  #peak(index: number): number {
    return this.#passes.plain.sequence.peak * RATIO ** -index;
  }

  #attempt(index: number): Attempt<C> {
    let attempt = this.#attempts.get(index);
    if (attempt === undefined) this.#attempts.set(index, attempt = this.#planFor(this.#peak(index), index));
    return attempt;
  }

  #planFor(peak: number, index: number): Attempt<C> {
    const before = this.#attempts.get(index - 1);
    if (before !== undefined && before.candidate.sequence.peak <= peak) return before;
    const { plain, sequenced, placed } = this.#passes;
    const lean = this.#lean ??= this.#passes.lean();
    // Where all cheap values are to be dropped, the search for those knows better what fused kernels rebuild for nothing.
    let best = plain;
    for (const start of lean.sequence.peak > peak ? [lean, plain] : [plain, lean]) {
      let candidate = start;
      for (let round = 0; round < ROUNDS && candidate.sequence.peak > peak; round++) {
        const rewritten = rematerialise(candidate.sequence, peak, this.#speeds);
        const next = rewritten === undefined ? candidate : sequenced(rewritten);
        if (next.sequence.peak > candidate.sequence.peak * (1 - WORTHWHILE)) break;
        candidate = next;
        if (candidate.sequence.peak > peak * HOPELESS) break;
      }
      if (candidate.sequence.peak < best.sequence.peak) best = candidate;
      if (best.sequence.peak <= peak) break;
    }
    return { candidate: best, plan: placed(best), reached: best.sequence.peak <= peak };
  }
}
