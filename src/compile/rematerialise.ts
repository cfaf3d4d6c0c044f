import { at } from "../base/at.ts";
import { bytesOf } from "../trace/dtype.ts";
import { type Instruction, isCollectiveInstruction, isStructuredInstruction } from "../trace/program.ts";
import type { Program, ValueId } from "../trace/program.ts";
import { Lifetimes } from "./lifetimes.ts";
import { Makers } from "./makers.ts";
import { Peaks } from "./peaks.ts";
import { type Gap, rebuild, type Recipe } from "./rebuild.ts";
import { isCheap } from "./recompute.ts";
import type { StepSequence } from "./step_sequence.ts";
import { type Speeds, timeOf } from "./time.ts";

/** Values smaller than this fraction of the peak are kept. */
const WORTH_REBUILDING = 1 / 1024;
/** The fraction of the value's size up to which an operand may be kept live longer to rebuild it. */
const SLIGHT = 1 / 8;
/** The most operands of any size, and the most instructions, from which a value is rebuilt. */
const MAX_LEAVES = 48;
const MAX_INSTRUCTIONS = 256;
/** Lower prices to try than the power of 2 that was found, and by how much less the estimated time must be then. */
const PARTS = [2 ** -0.75, 2 ** -0.5, 2 ** -0.25];
const GAIN = 1 / 16;
/** The most dropped values of which one is kept after all to rebuild another from it. */
const MAX_CHECKPOINTS = 3;

/** A value to rebuild before a step, and what that takes. */
interface Plan extends Recipe {
  /** Dropped results of convolutions, products and reductions that have to be rebuilt before the same step. */
  readonly pulled: readonly ValueId[];
  /** Bytes that are live only while it is rebuilt. */
  readonly transient: number;
  /** The predicted time. */
  readonly seconds: number;
}

/** What to drop of a sequence, and to rebuild in its backward pass. */
export interface Rematerialisation {
  /** The most bytes that are live at once then, as estimated. */
  readonly peak: number;
  /** The predicted time of rebuilding. */
  readonly seconds: number;
  /** Returns the program that does so. */
  program(): Program;
}

/**
 * Chooses values of a sequence to rebuild in the backward pass, whatever makes them, so that at most `limit` bytes are
 * live at once, at the least predicted time; undefined if there is nothing to drop. If the limit cannot be reached, it
 * comes as near as it can. It may still be applied to the result, which drops again what was rebuilt early.
 *
 * This is a knapsack: the least price, in seconds a byte, is searched at which dropping every value that costs no more
 * reaches the limit; then those are kept, dearest first, for which there is room. Values are taken in program order. One
 * whose rebuilding would exceed the limit, since others that it takes have to be rebuilt with it, is kept, and others are
 * rebuilt from it: a checkpoint. So a lower price need not take less time, and the fastest of all that were tried is
 * chosen.
 */
export function rematerialise(
  sequence: StepSequence,
  limit: number,
  speeds: Speeds,
): Rematerialisation | undefined {
  const makers = new Makers(sequence.draft.program);
  const candidates = candidatesIn(sequence, makers);
  const select = (price: number): Selection => {
    const selected = (exchanges: boolean) => {
      const selection = new Selection(sequence, makers, { limit, price, exchanges, speeds });
      for (const candidate of candidates) if (selection.peak > limit) selection.consider(candidate);
      selection.restore();
      return selection;
    };
    const [plain, exchanged] = [selected(false), selected(true)];
    return isBetter(exchanged, plain, limit) ? exchanged : plain;
  };
  let best = select(Infinity);
  const prices = best.peak > limit ? [] : pricesOf(sequence, makers, candidates, speeds);
  let [low, high] = [0, prices.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const selection = select(at(prices, middle));
    if (isBetter(selection, best, limit)) best = selection;
    if (selection.peak > limit) low = middle + 1;
    else high = middle;
  }
  for (const part of low < prices.length ? PARTS : []) {
    const selection = select(at(prices, low) * part);
    if (selection.peak <= limit && selection.seconds < best.seconds * (1 - GAIN)) best = selection;
  }
  const { peak, seconds, gaps } = best;
  return gaps.size === 0 ? undefined : { peak, seconds, program: () => rebuild(sequence, gaps) };
}

/** Tests whether a selection keeps to the limit in less time than another, or comes nearer to it. */
function isBetter(a: Selection, b: Selection, limit: number): boolean {
  const [over, overB] = [Math.max(limit, a.peak), Math.max(limit, b.peak)];
  return over < overB || (over === overB && a.seconds < b.seconds);
}

/** Lists the values that could be dropped between two steps that read them, in program order. */
function candidatesIn(sequence: StepSequence, makers: Makers): Gap[] {
  const least = sequence.peak * WORTH_REBUILDING;
  const gaps: Gap[] = [];
  for (const value of sequence.draft.program.values.keys()) {
    const maker = makers.find(value);
    const large = sequence.writer(value) >= 0 && sequence.arenaBytes(value) >= least;
    if (maker === undefined || !large || !canRepeat(maker)) continue;
    let from = sequence.readers(value)[0] ?? -1;
    for (const to of sequence.readers(value).slice(1)) {
      if (to - from >= 2) gaps.push({ value, from, to });
      from = to;
    }
  }
  return gaps.sort((a, b) => sequence.writer(a.value) - sequence.writer(b.value) || a.from - b.from);
}

/** The prices to try, ascending: powers of 2 around what values cost that are rebuilt from stored ones. */
function pricesOf(
  sequence: StepSequence,
  makers: Makers,
  candidates: readonly Gap[],
  speeds: Speeds,
): number[] {
  const rules = { limit: Infinity, price: Infinity, exchanges: false, speeds };
  const unlimited = new Selection(sequence, makers, rules);
  const prices = new Set<number>();
  for (const { value } of candidates) {
    const seconds = unlimited.planOf(value, Infinity)?.seconds;
    if (seconds !== undefined) prices.add(2 ** Math.ceil(Math.log2(seconds / sequence.arenaBytes(value))));
  }
  return [...prices].sort((a, b) => a - b);
}

/** The rules of a selection. */
interface Rules {
  /** The most bytes that may be live at once. */
  readonly limit: number;
  /** The most seconds for each byte that is dropped. */
  readonly price: number;
  /** Keeps a cheap value after all if a dearer one can then be dropped. */
  readonly exchanges: boolean;
  /** What the time is predicted by. */
  readonly speeds: Speeds;
}

/** Values to drop. */
class Selection {
  readonly #sequence: StepSequence;
  readonly #makers: Makers;
  readonly #rules: Rules;
  readonly #peaks: Peaks;
  readonly #lifetimes: Lifetimes;
  readonly #chosen = new Map<Gap, Plan>();
  /** Bytes counted at each step for what is live only while values are rebuilt before it. */
  readonly #transient = new Map<number, number>();
  /** What takes back the choice that is being made, in order. */
  #undo: (() => void)[] = [];
  /** The most bytes at the steps where the choice that is being made adds some. */
  #added = -Infinity;

  /** Starts with nothing dropped. */
  constructor(sequence: StepSequence, makers: Makers, rules: Rules) {
    this.#sequence = sequence;
    this.#makers = makers;
    this.#rules = rules;
    this.#peaks = new Peaks(sequence.live);
    this.#lifetimes = new Lifetimes(sequence, makers);
  }

  /** The most bytes that are live at once. */
  get peak(): number {
    return this.#peaks.most(0, Infinity);
  }

  /** Drops a value within a gap if that is worth its price, and rebuilding it keeps to the limit. */
  consider({ value, from, to: next }: Gap): void {
    const to = Math.min(next, ...this.#lifetimes.needs(value).filter((step) => from < step && step <= next));
    if (to - from < 2 || this.#peaks.most(from + 1, to) <= this.#rules.limit) return;
    const gap = { value, from, to };
    if (this.#try(gap) || !this.#rules.exchanges) return;
    for (const checkpoint of this.#checkpointsFor(gap)) if (this.#try(gap, checkpoint)) return;
  }

  /** Drops a value if that is possible, after another that was dropped is kept after all. */
  #try(gap: Gap, checkpoint?: Gap): boolean {
    this.#undo = [];
    this.#added = -Infinity;
    if (checkpoint !== undefined) {
      this.#keep(checkpoint);
      this.#added = this.#peaks.most(gap.to, checkpoint.to + 1);
    }
    const most = this.#rules.price * this.#sequence.arenaBytes(gap.value);
    if (this.#choose(gap, most) && this.#added <= this.#rules.limit) return true;
    for (const undo of this.#undo.reverse()) undo();
    return false;
  }

  /** The dropped values through which a value is rebuilt, latest first: with one of them kept it would take less. */
  #checkpointsFor({ value, to }: Gap): Gap[] {
    const through = [...this.planOf(value, to)?.through ?? []].filter((each) => each !== value);
    through.sort((a, b) => this.#sequence.writer(b) - this.#sequence.writer(a));
    const gaps = through.map((each) => this.#lifetimes.gapAt(each, to));
    return gaps.filter((each) => each !== undefined).slice(0, MAX_CHECKPOINTS);
  }

  /** Takes back that a value is dropped. */
  #keep(gap: Gap): void {
    const plan = this.#chosen.get(gap);
    const bytes = this.#sequence.arenaBytes(gap.value);
    this.#lifetimes.keep(gap);
    this.#chosen.delete(gap);
    this.#peaks.add(gap.from + 1, gap.to, bytes);
    this.#undo.push(() => {
      this.#peaks.add(gap.from + 1, gap.to, -bytes);
      this.#lifetimes.drop(gap);
      if (plan !== undefined) this.#chosen.set(gap, plan);
    });
  }

  /** The dropped values, each with what rebuilding it takes. */
  get gaps(): ReadonlyMap<Gap, Recipe> {
    return this.#chosen;
  }

  /** The predicted time of rebuilding. */
  get seconds(): number {
    return [...this.#chosen.values()].reduce((sum, { seconds }) => sum + seconds, 0);
  }

  /** Keeps dropped values for which there is room after all, those that take longest first. */
  restore(): void {
    for (const [gap] of [...this.#chosen].sort(([, a], [, b]) => b.seconds - a.seconds)) {
      const bytes = this.#sequence.arenaBytes(gap.value);
      if (this.#peaks.most(gap.from + 1, gap.to) + bytes <= this.#rules.limit) this.#keep(gap);
    }
  }

  /** Drops a value, and rebuilds earlier what it takes; false, in the middle of it, if that cannot be. */
  #choose(gap: Gap, most: number): boolean {
    const { value, from, to } = gap;
    const bytes = this.#sequence.arenaBytes(value);
    const plan = this.planOf(value, to);
    if (plan === undefined || plan.seconds > most) return false;
    for (const leaf of plan.leaves) {
      const end = this.#lifetimes.end(leaf);
      if (this.#lifetimes.isMade(leaf) && end < to) {
        this.#add(end + 1, to + 1, this.#sequence.arenaBytes(leaf));
      }
      this.#lifetimes.need(leaf, to);
      this.#undo.push(() => this.#lifetimes.forgetNeed(leaf));
    }
    const before = this.#transient.get(to) ?? 0;
    const transient = plan.transient - this.#sequence.allocated(to); // the step before which it is rebuilt runs later
    const more = transient - before;
    if (more > 0) {
      this.#transient.set(to, transient);
      this.#undo.push(() => this.#transient.set(to, before));
      this.#add(to, to + 1, more);
    }
    this.#peaks.add(from + 1, to, -bytes);
    this.#lifetimes.drop(gap);
    this.#chosen.set(gap, plan);
    this.#undo.push(() => {
      this.#peaks.add(from + 1, to, bytes);
      this.#lifetimes.keep(gap);
      this.#chosen.delete(gap);
    });
    return plan.pulled.every((each) => this.#pull(each, to));
  }

  /** Rebuilds a dropped value before an earlier step, and keeps it from there; the gap ends there. */
  #pull(value: ValueId, step: number): boolean {
    const gap = this.#lifetimes.gapAt(value, step);
    if (gap === undefined || gap.to === step) return true; // meanwhile it was pulled for another
    this.#keep(gap);
    const isChosen = this.#choose({ ...gap, to: step }, Infinity);
    this.#added = Math.max(this.#added, this.#peaks.most(step, gap.to));
    return isChosen;
  }

  #add(from: number, to: number, bytes: number): void {
    this.#peaks.add(from, to, bytes);
    this.#undo.push(() => this.#peaks.add(from, to, -bytes));
    this.#added = Math.max(this.#added, this.#peaks.most(from, to));
  }

  /**
   * Plans to rebuild a value right before a step, from what is live there; before no step at all (Infinity), from whatever
   * is ever stored. Undefined if that cannot be.
   */
  planOf(value: ValueId, step: number): Plan | undefined {
    const { views, values } = this.#sequence.draft;
    const small = SLIGHT * this.#sequence.arenaBytes(value);
    const through = new Set<ValueId>([value]);
    const [leaves, pulled] = [new Set<ValueId>(), new Set<ValueId>()];
    const seen = new Set<ValueId>();
    let [seconds, transient] = [0, 0];
    const compute = (instruction: Instruction): boolean => {
      if (!canRepeat(instruction) || seen.size > MAX_INSTRUCTIONS) return false;
      seconds += this.#secondsOf(instruction);
      const isFused = isCheap(instruction);
      return instruction.inputs.every((input) => visit(at(views, input), isFused));
    };
    /** Follows an operand; `isFused` if a fused kernel reads it, which may compute it as well. */
    const visit = (base: ValueId, isFused: boolean): boolean => {
      if (seen.has(base)) return true;
      seen.add(base);
      const maker = this.#makers.find(base);
      const isStored = this.#lifetimes.isMade(base);
      const isLive = step === Infinity
        ? isStored || maker === undefined || maker.op === "constant"
        : this.#lifetimes.isLiveBefore(base, step);
      if (isLive && (isStored || maker === undefined || !isCheap(maker))) return read(base);
      if (maker === undefined) return false;
      if (!isStored) return compute(maker);
      const gap = this.#lifetimes.gapAt(base, step);
      if (gap !== undefined && !isCheap(maker)) {
        pulled.add(base);
        return read(base);
      }
      const bytes = bytesOf(at(values, base));
      if (gap === undefined && bytes <= small) return read(base);
      through.add(base);
      if (!isFused || !isCheap(maker)) {
        transient += bytes;
        seconds += 2 * bytes / this.#rules.speeds.bytes;
      }
      return compute(maker);
    };
    const read = (leaf: ValueId): boolean => {
      leaves.add(leaf);
      seconds += bytesOf(at(values, leaf)) / this.#rules.speeds.bytes;
      return leaves.size <= MAX_LEAVES;
    };
    const maker = this.#makers.get(value);
    return compute(maker)
      ? { through, leaves: [...leaves], pulled: [...pulled], transient, seconds }
      : undefined;
  }

  /** The time of an instruction beyond that of reading stored operands: none of what a fused kernel computes. */
  #secondsOf(instruction: Instruction): number {
    if (!isStructuredInstruction(instruction)) return 0;
    return timeOf(this.#sequence.draft, { kind: "op", instruction }, this.#rules.speeds);
  }
}

/** Tests whether an instruction may run again: exchanges with other processes may not. */
function canRepeat(instruction: Instruction): boolean {
  return !isCollectiveInstruction(instruction) &&
    !(instruction.op === "constant" && instruction.attrs.values.length > 1);
}
