import type { Plan } from "./plan.ts";
import { type Rematerialisation, rematerialise } from "./rematerialise.ts";
import type { StepSequence } from "./step_sequence.ts";
import { planTime, type Speeds } from "./time.ts";
import type { Program } from "../trace/program.ts";

/** Peaks to plan for: each is lower than the one before by this factor. */
const RATIO = 2 ** (1 / 16);
/** The lowest peak to plan for is the plain one by this many factors: 1/64. */
const LAST = 96;
/** The times that values are chosen for one peak; each starts from what the one before really gave. */
const ROUNDS = 3;
/** A round that leaves a peak above the one that is planned for by this factor is the last too. */
const HOPELESS = 1.25;
/** A round that lowers the peak by less than this fraction is the last. */
const WORTHWHILE = 1 / 200;
/** After this many peaks in a row that cannot be reached, lower ones are not tried. */
const PATIENCE = 2;
/** So many peaks below the first that keeps to a limit are estimated; fewer bytes sometimes take less time. */
const AHEAD = 4;
/** The estimated time of recomputing may be this fraction of a step too high. */
const TOLERANCE = 0.05;
/** Plans for peaks above the limit by more than this factor are left out: hardly any would keep to it. */
const MARGIN = 1.06;
/** In programs of more instructions, which take long to plan, fewer ways to the same are tried. */
const LARGE = 4000;

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

/** A plan, and its predicted time. */
interface Timed {
  readonly plan: Plan;
  readonly seconds: number;
}

/** A program in steps, with its plan. */
interface Planned<C> extends Timed {
  readonly candidate: C;
}

/** A plan for some peak. */
interface Attempt<C> extends Planned<C> {
  /** True if no more than the peak it was for is live at once. */
  readonly reached: boolean;
}

/** What the values of a program are first chosen from for some peak. */
interface Start<C> {
  readonly candidate: C;
  /** What is chosen first; undefined if the peak needs nothing, or there is nothing. */
  readonly first?: Rematerialisation;
  /** The peak and the time that this is estimated to give. */
  readonly peak: number;
  readonly seconds: number;
}

/**
 * Plans of one program that recompute more and more. The peaks that they are for do not depend on any limit; the plan for a
 * limit is the fastest of those made so far that keep to it.
 */
export class PlansWithin<C extends { readonly sequence: StepSequence }> {
  readonly #passes: Passes<C>;
  readonly #speeds: Speeds;
  readonly #plain: Planned<C>;
  #lean: Planned<C> | undefined;
  /** All plans made so far. */
  readonly #all: Timed[] = [];
  readonly #attempts = new Map<number, Attempt<C>>();
  readonly #starts = new Map<number, readonly Start<C>[]>();

  /** Plans nothing yet. */
  constructor(passes: Passes<C>, speeds: Speeds) {
    this.#passes = passes;
    this.#speeds = speeds;
    this.#plain = this.#planned(passes.plain, passes.plan);
  }

  /**
   * Returns the plan for each limit on the bytes of the whole plan; the least that is found if none is within it. A plan
   * that recomputes has no higher peak and takes no less time within a lower limit.
   */
  plans(limits: readonly number[]): Plan[] {
    for (const limit of limits.toSorted((a, b) => b - a)) if (!this.#search(limit)) break; // none comes nearer
    return limits.map((limit) => {
      if (peakOf(this.#plain) <= limit) return this.#plain.plan;
      const nearest = (a: Timed, b: Timed) => Math.max(limit, peakOf(a)) - Math.max(limit, peakOf(b));
      return this.#all.reduce((best, each) =>
        (nearest(each, best) || each.seconds - best.seconds || peakOf(each) - peakOf(best)) < 0 ? each : best
      ).plan;
    });
  }

  /**
   * Makes plans until one keeps to a limit, and those that may be faster; false if none was found that does, after those
   * of least peak were made.
   */
  #search(limit: number): boolean {
    const { plain, plan } = this.#passes;
    if (plan.memory.peakBytes <= limit) return true;
    const ahead = this.#isLarge ? AHEAD / 2 : AHEAD;
    const outside = plan.memory.peakBytes - plain.sequence.peak;
    let first = 1;
    while (first <= LAST && this.#peak(first) + outside > limit * MARGIN) first++;
    let failures = 0;
    let attempt: Attempt<C> | undefined;
    for (let index = first; index <= LAST && failures < PATIENCE; index++) {
      if (attempt !== undefined && peakIn(attempt) <= this.#peak(index)) continue; // it is for this peak too
      attempt = this.#attempt(index);
      if (peakOf(attempt) <= limit) {
        this.#lookAhead(index, Math.min(LAST, index + ahead));
        return true;
      }
      failures = attempt.reached ? 0 : failures + 1;
    }
    this.#tryLeast();
    return this.#all.some((each) => peakOf(each) <= limit);
  }

  /** Makes the plans for lower peaks that may take less time. */
  #lookAhead(from: number, to: number): void {
    let attempt = this.#attempt(from);
    let least = Math.max(attempt.seconds, this.#startsFor(from)[0]?.seconds ?? 0);
    for (let index = from + 1; index <= to; index++) {
      const [start] = this.#startsFor(index);
      if (start === undefined || start.peak > this.#peak(index) || start.seconds >= least) continue;
      least = start.seconds;
      if (peakIn(attempt) > this.#peak(index)) attempt = this.#attempt(index);
    }
  }

  /**
   * Makes the plans around the lowest peak that can be reached: the same ones whatever the limit, so that the least that is
   * found keeps to a limit of as many bytes.
   */
  #tryLeast(): void {
    let [low, high] = [0, LAST];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#attempt(middle).reached) low = middle;
      else high = middle;
    }
    for (let index = high; index < high + PATIENCE; index++) this.#attempt(index);
  }

  get #isLarge(): boolean {
    return this.#passes.plain.sequence.draft.program.instructions.length > LARGE;
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
    let best: Planned<C> = this.#plain;
    const tolerance = this.#isLarge ? 0 : TOLERANCE * this.#plain.seconds;
    const reaches = ({ candidate }: Planned<C>) => candidate.sequence.peak <= peak;
    for (const start of this.#startsFor(index)) {
      if (reaches(best) && start.seconds >= best.seconds + tolerance) continue;
      const reduced = this.#reduced(start, peak);
      if (reduced.sequence.peak >= best.candidate.sequence.peak && !reaches(best)) continue;
      const planned = this.#planned(reduced);
      if (!reaches(best) || (reaches(planned) && planned.seconds < best.seconds)) best = planned;
    }
    return { ...best, reached: reaches(best) };
  }

  /** Where to start from for the peak of an index: first what reaches it in the least time, as estimated. */
  #startsFor(index: number): readonly Start<C>[] {
    let starts = this.#starts.get(index);
    if (starts === undefined) {
      const peak = this.#peak(index);
      this.#lean ??= this.#planned(this.#passes.lean());
      starts = [this.#plain, this.#lean].map((start) => this.#startFrom(start, peak)).toSorted((a, b) =>
        Math.max(peak, a.peak) - Math.max(peak, b.peak) || a.seconds - b.seconds
      );
      this.#starts.set(index, starts);
    }
    return starts;
  }

  #startFrom({ candidate, seconds }: Planned<C>, peak: number): Start<C> {
    const { sequence } = candidate;
    const first = sequence.peak <= peak ? undefined : rematerialise(sequence, peak, this.#speeds);
    if (first === undefined) return { candidate, seconds, peak: sequence.peak };
    return { candidate, first, peak: first.peak, seconds: seconds + first.seconds };
  }

  /** Drops values, again from what is really live then, as long as that lowers the peak enough. */
  #reduced({ candidate, first }: Start<C>, peak: number): C {
    for (let round = 0; round < ROUNDS && candidate.sequence.peak > peak; round++) {
      const chosen = round === 0 ? first : rematerialise(candidate.sequence, peak, this.#speeds);
      if (chosen === undefined) break;
      const next = this.#passes.sequenced(chosen.program());
      if (next.sequence.peak > candidate.sequence.peak * (1 - WORTHWHILE)) break;
      candidate = next;
      if (candidate.sequence.peak > peak * HOPELESS) break;
    }
    return candidate;
  }

  #planned(candidate: C, plan = this.#passes.placed(candidate)): Planned<C> {
    const planned = { candidate, plan, seconds: planTime(plan, this.#speeds) };
    this.#all.push(planned);
    return planned;
  }
}

/** The most bytes of a candidate that are live at once. */
function peakIn<C extends { readonly sequence: StepSequence }>({ candidate }: Planned<C>): number {
  return candidate.sequence.peak;
}

/** The bytes of a whole plan. */
function peakOf({ plan }: Timed): number {
  return plan.memory.peakBytes;
}
