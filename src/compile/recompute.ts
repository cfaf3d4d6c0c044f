import { at } from "../base/at.ts";
import { bytesOf } from "../trace/dtype.ts";
import { isFusable } from "../trace/ops.ts";
import type { Instruction, Program, ValueId } from "../trace/program.ts";
import { Lifetimes } from "./lifetimes.ts";
import { Makers } from "./makers.ts";
import { Peaks } from "./peaks.ts";
import { type Gap, rebuild, type Recipe } from "./rebuild.ts";
import type { StepSequence } from "./step_sequence.ts";

/** Values smaller than this fraction of the peak are kept. */
const WORTH_REBUILDING = 1 / 1024;
/** A value is cheap to rebuild if that reads at most this many operands of full size. */
const MAX_READS = 4;
/** The fraction of the value's size from which an operand counts as of full size. */
const FULL = 1 / 4;
/** The fraction of the value's size up to which an operand may be kept live longer to rebuild it. */
const SLIGHT = 1 / 8;
/** The most operands of any size: each batch norm brings several per channel. */
const MAX_LEAVES = 24;

/**
 * The extent of recomputation. `free`: only what is recomputed inside its only consumer, at no extra traffic. `cheap`:
 * also what costs some traffic.
 */
export type Effort = "free" | "cheap";

/**
 * Returns the program of a sequence, with element-wise results (normalised, rectified, cast) that the backward pass reads
 * again recomputed there from live values, instead of being kept. Only values that are live at the peak are dropped, one
 * after another, as long as that lowers the peak; undefined if none can be. Every result keeps its bits, because
 * recomputation evaluates the same expression.
 */
export function recompute(sequence: StepSequence, effort: Effort): Program | undefined {
  const gaps = new Selection(sequence, effort).run();
  return gaps.size === 0 ? undefined : rebuild(sequence, gaps);
}

/** Chooses the values to drop. */
class Selection {
  readonly #sequence: StepSequence;
  readonly #effort: Effort;
  readonly #peaks: Peaks;
  readonly #makers: Makers;
  readonly #chosen = new Map<Gap, Recipe>();
  readonly #lifetimes: Lifetimes;

  constructor(sequence: StepSequence, effort: Effort) {
    this.#sequence = sequence;
    this.#effort = effort;
    this.#peaks = new Peaks(sequence.live);
    this.#makers = new Makers(sequence.draft.program);
    this.#lifetimes = new Lifetimes(sequence, this.#makers);
  }

  run(): ReadonlyMap<Gap, Recipe> {
    const candidates = this.#candidates();
    for (;;) {
      const peak = this.#peaks.peak();
      const index = candidates.findIndex(({ from, to }) => from < peak && peak < to);
      const [gap] = index < 0 ? [] : candidates.splice(index, 1);
      if (gap === undefined) return this.#chosen;
      const recipe = this.#recipe(gap);
      if (recipe !== undefined) this.#choose(gap, recipe);
    }
  }

  /** Lists the gaps that could be chosen: those that read least to rebuild first, then in program order. */
  #candidates(): Gap[] {
    const sequence = this.#sequence;
    const least = sequence.peak * WORTH_REBUILDING;
    const found: { gap: Gap; reads: number }[] = [];
    for (const value of sequence.draft.program.values.keys()) {
      const maker = this.#makers.find(value);
      const bytes = sequence.arenaBytes(value);
      if (maker === undefined || sequence.writer(value) < 0 || bytes < least || !isCheap(maker)) continue;
      const [first, ...others] = sequence.readers(value);
      let from = first ?? -1;
      for (const to of others) {
        if (to - from >= 2) {
          const reads = this.#cone(maker, () =>
            true).leaves.filter((leaf) => this.#isFull(leaf, value)).length;
          found.push({ gap: { value, from, to }, reads });
        }
        from = to;
      }
    }
    return found.sort((a, b) => a.reads - b.reads || a.gap.from - b.gap.from).map(({ gap }) => gap);
  }

  /** Returns the recipe that rebuilds a value at the end of its gap; undefined if that is not cheap. */
  #recipe(gap: Gap): Recipe | undefined {
    const { value, from, to } = gap;
    if (this.#lifetimes.needs(value).some((step) => from < step && step <= to)) return undefined;
    const recipe = this.#cone(this.#makers.get(value), (leaf) => this.#lifetimes.isLiveBefore(leaf, to));
    const reads = recipe.leaves.filter((leaf) => this.#isFull(leaf, value)).length;
    const mostReads = this.#effort === "free" ? this.#freeReads(gap) : MAX_READS;
    if (reads > mostReads || recipe.leaves.length > MAX_LEAVES) return undefined;
    const canRead = (leaf: ValueId) =>
      this.#lifetimes.isLiveBefore(leaf, to) ||
      (this.#lifetimes.isMade(leaf) && !this.#lifetimes.isInGap(leaf, to) &&
        this.#sequence.arenaBytes(leaf) <= SLIGHT * this.#sequence.arenaBytes(value));
    return recipe.leaves.every(canRead) ? recipe : undefined;
  }

  /**
   * The number of full-size operands from which a value may be rebuilt for free: the one that is read in its place, if
   * only one kernel still needs the value; one more if only one kernel needed it before, since the value is then not
   * written at all.
   */
  #freeReads({ value, to }: Gap): number {
    const readers = this.#sequence.readers(value);
    const areKernels = readers.slice(-2).every((reader) => this.#sequence.kernel(reader) !== undefined);
    if (readers.at(-1) !== to || this.#sequence.kernel(to) === undefined) return 0;
    return readers.length === 2 && areKernels ? 2 : 1;
  }

  #choose(gap: Gap, recipe: Recipe): void {
    const { value, from, to } = gap;
    const sequence = this.#sequence;
    for (const leaf of recipe.leaves) {
      if (this.#lifetimes.isMade(leaf)) {
        this.#peaks.add(this.#lifetimes.end(leaf) + 1, to + 1, sequence.arenaBytes(leaf));
      }
      this.#lifetimes.need(leaf, to);
    }
    this.#peaks.add(from + 1, to, -sequence.arenaBytes(value));
    this.#lifetimes.drop(gap);
    this.#chosen.set(gap, recipe);
  }

  /** Follows an expression back to the stored values that are available. */
  #cone(root: Instruction, isAvailable: (leaf: ValueId) => boolean): Recipe {
    const { views } = this.#sequence.draft;
    const through = new Set<ValueId>([root.output]);
    const leaves = new Set<ValueId>();
    const seen = new Set<ValueId>();
    const visit = (operand: ValueId): void => {
      const base = at(views, operand);
      if (seen.has(base)) return;
      seen.add(base);
      const maker = this.#makers.find(base);
      const canRebuild = maker !== undefined && isCheap(maker);
      const isStored = !canRebuild || this.#lifetimes.isMade(base);
      if (isStored && (isAvailable(base) || !canRebuild)) {
        leaves.add(base);
        return;
      }
      if (isStored) through.add(base);
      if (leaves.size <= MAX_LEAVES) maker?.inputs.forEach(visit);
    };
    root.inputs.forEach(visit);
    return { through, leaves: [...leaves] };
  }

  #isFull(leaf: ValueId, value: ValueId): boolean {
    const { values } = this.#sequence.draft;
    return bytesOf(at(values, leaf)) >= FULL * bytesOf(at(values, value));
  }
}

/** Tests whether an op is element-wise and not a literal array, so that a fused kernel can compute it point by point. */
export function isCheap({ op, attrs }: Instruction): boolean {
  return op === "barrier" || op === "resize" ||
    (isFusable(op) && !(op === "constant" && attrs.values.length > 1));
}
