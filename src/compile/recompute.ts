import { bytesOf } from "../trace/dtype.ts";
import { isFusable } from "../trace/ops.ts";
import { type Instruction, type Program, ProgramBuilder, type ValueId } from "../trace/program.ts";
import { writesOf } from "./lower.ts";
import { Peaks } from "./peaks.ts";
import type { Schedule } from "./schedule.ts";

/** Values below this part of the peak are kept. */
const WORTH_REBUILDING = 1 / 1024;
/** A value is cheap to rebuild if that reads at most so many operands of about its own size. */
const MAX_READS = 4;
/** What counts as about that size, and below what part of it an operand may be held longer for its sake. */
const FULL = 1 / 4;
const SLIGHT = 1 / 8;
/** Operands of any size: what belongs to a channel comes with each batch norm. */
const MAX_LEAVES = 24;

/**
 * What may be computed again: `free`, what the one kernel that needs it computes on its way from what it reads instead,
 * so that no more is read and written in all; or all that is `cheap`.
 */
export type Effort = "free" | "cheap";

/** A value that is let go after step `from` and rebuilt right before step `to`. */
interface Gap {
  readonly value: ValueId;
  readonly from: number;
  readonly to: number;
}

/** How a value is rebuilt. */
interface Way {
  /** Stored values, itself among them, that are computed once more on the way. */
  readonly through: ReadonlySet<ValueId>;
  /** Stored values that are read. */
  readonly leaves: readonly ValueId[];
}

/**
 * The program of a schedule, with element-wise results (normalised, rectified, cast) that are read again much later, in
 * the backward pass, computed again there from what is held anyway, instead of being held. Only what is held at the
 * fullest moment is let go, one value after another, while that moment becomes less full; undefined if it never does.
 * Every result keeps its bits: the expression that is computed twice is the same.
 */
export function recompute(schedule: Schedule, effort: Effort): Program | undefined {
  const gaps = new Selection(schedule, effort).run();
  return gaps.size === 0 ? undefined : new Rewriting(schedule, gaps).run();
}

/** Chooses what to let go. */
class Selection {
  readonly #schedule: Schedule;
  readonly #effort: Effort;
  readonly #peaks: Peaks;
  readonly #makers: readonly (Instruction | undefined)[];
  readonly #chosen = new Map<Gap, Way>();
  /** The gaps of each value that was let go, and the steps before which something is rebuilt from each value. */
  readonly #gaps = new Map<ValueId, Gap[]>();
  readonly #needed = new Map<ValueId, number[]>();

  constructor(schedule: Schedule, effort: Effort) {
    this.#schedule = schedule;
    this.#effort = effort;
    this.#peaks = new Peaks(schedule.held);
    this.#makers = makersOf(schedule.lowered.program);
  }

  run(): Map<Gap, Way> {
    const candidates = this.#candidates();
    while (candidates.length > 0) {
      const { at } = this.#peaks.fullest();
      const index = candidates.findIndex(({ from, to }) => from < at && at < to);
      if (index < 0) break;
      const [gap] = candidates.splice(index, 1);
      const way = this.#way(gap);
      if (way !== undefined) this.#choose(gap, way);
    }
    return this.#chosen;
  }

  /** What could be let go: first what reads least to rebuild, in order of the program. */
  #candidates(): Gap[] {
    const schedule = this.#schedule;
    const least = schedule.peak * WORTH_REBUILDING;
    const found: { gap: Gap; reads: number }[] = [];
    this.#makers.forEach((maker, value) => {
      const bytes = schedule.arenaBytes(value);
      if (maker === undefined || schedule.writer(value) < 0 || bytes < least || !isCheap(maker)) return;
      const readers = schedule.readers(value);
      for (let i = 1; i < readers.length; i++) {
        const gap = { value, from: readers[i - 1], to: readers[i] };
        if (gap.to - gap.from < 2) continue;
        const reads = this.#cone(value, () => true).leaves.filter((leaf) => this.#isFull(leaf, value)).length;
        found.push({ gap, reads });
      }
    });
    return found.sort((a, b) => a.reads - b.reads || a.gap.from - b.gap.from).map(({ gap }) => gap);
  }

  /** How to rebuild a value at the end of its gap; undefined if that would take more than is cheap. */
  #way(gap: Gap): Way | undefined {
    const { value, from, to } = gap;
    if (this.#needed.get(value)?.some((step) => from < step && step <= to)) return undefined;
    const way = this.#cone(value, (leaf) => this.#isThereBefore(leaf, to));
    const reads = way.leaves.filter((leaf) => this.#isFull(leaf, value)).length;
    if (
      reads > (this.#effort === "free" ? this.#freeReads(gap) : MAX_READS) || way.leaves.length > MAX_LEAVES
    ) return undefined;
    const isThere = (leaf: ValueId) =>
      this.#isThereBefore(leaf, to) ||
      (this.#isOwn(leaf) && !this.#isInGap(leaf, to) &&
        this.#schedule.arenaBytes(leaf) <= SLIGHT * this.#schedule.arenaBytes(value));
    return way.leaves.every(isThere) ? way : undefined;
  }

  /**
   * How many operands a value may be rebuilt from for free: the one that is read in its place, where only one kernel
   * still needs it; one more where only one needed it before, since it is then not written at all.
   */
  #freeReads({ value, to }: Gap): number {
    const readers = this.#schedule.readers(value);
    const areKernels = readers.slice(-2).every((reader) => this.#schedule.draft(reader) !== undefined);
    if (readers.at(-1) !== to || this.#schedule.draft(to) === undefined) return 0;
    return readers.length === 2 && areKernels ? 2 : 1;
  }

  #choose(gap: Gap, way: Way): void {
    const { value, from, to } = gap;
    const schedule = this.#schedule;
    for (const leaf of way.leaves) {
      if (this.#isOwn(leaf)) {
        this.#peaks.add(this.#end(leaf) + 1, to + 1, schedule.arenaBytes(leaf));
      }
      push(this.#needed, leaf, to);
    }
    this.#peaks.add(from + 1, to, -schedule.arenaBytes(value));
    push(this.#gaps, value, gap);
    this.#chosen.set(gap, way);
  }

  /** The expression of a value, back to stored values that are there. */
  #cone(value: ValueId, isThere: (leaf: ValueId) => boolean): Way {
    const { views } = this.#schedule.lowered;
    const through = new Set<ValueId>([value]);
    const leaves = new Set<ValueId>();
    const visit = (operand: ValueId): void => {
      const base = views[operand];
      const maker = this.#makers[base];
      const isStored = maker === undefined || this.#isOwn(base) || !isCheap(maker);
      if (isStored && (isThere(base) || maker === undefined || !isCheap(maker))) {
        leaves.add(base);
        return;
      }
      if (isStored) through.add(base);
      if (leaves.size <= MAX_LEAVES) maker!.inputs.forEach(visit);
    };
    this.#makers[value]!.inputs.forEach(visit);
    return { through, leaves: [...leaves] };
  }

  /** Whether a stored value is held right before a step. */
  #isThereBefore(value: ValueId, step: number): boolean {
    const schedule = this.#schedule;
    if (!this.#isOwn(value)) {
      const maker = this.#makers[value];
      if (maker !== undefined) return maker.op === "constant";
      const successor = schedule.successor(value);
      return successor === undefined || schedule.writer(successor) >= step;
    }
    return schedule.writer(value) < step && step <= this.#end(value) && !this.#isInGap(value, step);
  }

  #isInGap(value: ValueId, step: number): boolean {
    return this.#gaps.get(value)?.some(({ from, to }) => from < step && step <= to) ?? false;
  }

  /** The last step that needs a value; results stay. */
  #end(value: ValueId): number {
    const schedule = this.#schedule;
    if (schedule.arenaBytes(value) === 0) return Infinity;
    const last = schedule.readers(value).at(-1) ?? schedule.writer(value);
    return Math.max(last, ...this.#needed.get(value) ?? []);
  }

  /** Whether a step makes the value. */
  #isOwn(value: ValueId): boolean {
    return this.#schedule.writer(value) >= 0;
  }

  #isFull(leaf: ValueId, beside: ValueId): boolean {
    const { values } = this.#schedule.lowered;
    return bytesOf(values[leaf]) >= FULL * bytesOf(values[beside]);
  }
}

/** Writes the program anew, with the chosen values rebuilt. */
class Rewriting {
  readonly #schedule: Schedule;
  readonly #makers: readonly (Instruction | undefined)[];
  /** Where the program makes each value. */
  readonly #places: Int32Array;
  readonly #builder = new ProgramBuilder();
  /** What each stored value is now: as it was first made, or as it was rebuilt last. */
  readonly #now = new Map<ValueId, ValueId>();
  /** The others, as they were made last, and of what. */
  readonly #made = new Map<ValueId, { readonly of: readonly ValueId[]; readonly value: ValueId }>();
  readonly #rebuilt = new Map<number, { readonly value: ValueId; readonly way: Way }[]>();

  constructor(schedule: Schedule, gaps: ReadonlyMap<Gap, Way>) {
    this.#schedule = schedule;
    this.#makers = makersOf(schedule.lowered.program);
    const { values, instructions } = schedule.lowered.program;
    this.#places = new Int32Array(values.length);
    instructions.forEach(({ output }, place) => this.#places[output] = place);
    for (const [{ value, to }, way] of gaps) push(this.#rebuilt, to, { value, way });
  }

  run(): Program {
    const { program } = this.#schedule.lowered;
    for (const { value, name, category, donated } of program.inputs) {
      this.#now.set(value, this.#builder.input(program.values[value], name, category, donated));
    }
    this.#schedule.lowered.steps.forEach((step, at) => {
      for (const output of writesOf(step)) {
        const instruction = this.#makers[output];
        if (instruction === undefined) continue; // a copy, made when lowered again
        for (const { value, way } of this.#rebuilt.get(at) ?? []) {
          this.#rebuild(value, way, instruction.scope);
        }
        this.#now.set(output, this.#emit(instruction, instruction.inputs.map((input) => this.#value(input))));
      }
    });
    const outputs = program.outputs.map((output) => ({ ...output, value: this.#value(output.value) }));
    return this.#builder.finish(program.name, outputs);
  }

  /** A value as it is now; what is not stored is computed from what is. */
  #value(value: ValueId): ValueId {
    const stored = this.#now.get(value);
    if (stored !== undefined) return stored;
    const instruction = this.#makers[value]!;
    const inputs = instruction.inputs.map((input) => this.#value(input));
    const made = this.#made.get(value);
    if (made !== undefined && made.of.every((input, i) => input === inputs[i])) return made.value;
    const again = this.#emit(instruction, inputs);
    this.#made.set(value, { of: inputs, value: again });
    return again;
  }

  #rebuild(value: ValueId, { through, leaves }: Way, scope: string): void {
    const there = new Set(leaves);
    const known = new Map<ValueId, ValueId>();
    const build = (operand: ValueId): ValueId => {
      const instruction = this.#makers[operand];
      if (there.has(operand) || instruction === undefined) return this.#value(operand);
      let again = known.get(operand);
      if (again === undefined) {
        again = this.#emit({ ...instruction, scope: `${scope}/recompute` }, instruction.inputs.map(build));
        known.set(operand, again);
      }
      return again;
    };
    for (const each of through) if (each !== value) build(each);
    this.#now.set(value, build(value));
  }

  #emit({ op, attrs, site, scope }: Instruction, inputs: readonly ValueId[]): ValueId {
    this.#builder.scope = scope;
    return this.#builder.emit(op, inputs, attrs as never, site);
  }
}

/** Element-wise, and not a literal array: what a fused kernel computes point by point. */
function isCheap({ op, attrs }: Instruction): boolean {
  return op === "barrier" || op === "resize" ||
    (isFusable(op) && !(op === "constant" && attrs.values.length > 1));
}

function makersOf({ values, instructions }: Program): (Instruction | undefined)[] {
  const makers = new Array<Instruction | undefined>(values.length);
  for (const instruction of instructions) makers[instruction.output] = instruction;
  return makers;
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
