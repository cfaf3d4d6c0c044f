import { at } from "../base/at.ts";
import { bytesOf } from "../trace/dtype.ts";
import type { ValueId } from "../trace/program.ts";
import type { DraftKernel } from "./draft_kernel.ts";
import { type DraftPlan, type DraftStep, readsOf, writesOf } from "./draft_plan.ts";
import { inPlace } from "./memory.ts";

/** A change, by `bytes`, of the memory that is live after each of steps `from … to − 1`. */
export interface Change {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

const NONE: readonly number[] = [];

/** Longer ranges are not searched for a step that exceeds the limit. */
const MAX_RANGE = 512;

/** The writer, the readers and the memory of a value. */
interface Use {
  /** The position that writes it; −1 for what exists from the start. */
  writer: number;
  /** The positions that read its memory, ascending; only of a value that a step writes, or that may be overwritten. */
  readers: number[] | undefined;
  /** Bytes of arena that it takes: none for inputs, results and literals. */
  bytes: number;
  isResult: boolean;
  /** The donated input that this result is to be written over, and the other way round. */
  predecessor: ValueId | undefined;
  successor: ValueId | undefined;
}

/** Bytes that are live while the step at a position runs, and after it. */
interface Live {
  during: number;
  after: number;
}

/**
 * The steps of a draft plan while they are merged and moved, with the writer and the readers of each value and the
 * memory that is live at each step. Positions do not change: a step that is merged into another leaves its position
 * empty.
 */
export class StepSequence {
  /** The steps, by position. */
  readonly steps: (DraftStep | undefined)[];
  /** The draft plan that the steps come from. */
  readonly draft: DraftPlan;
  /** By value; none for a value that no step writes and that is never overwritten. */
  readonly #uses: (Use | undefined)[];
  readonly #live: readonly Live[];

  /** Starts from the steps of a draft plan. */
  constructor(draft: DraftPlan) {
    this.draft = draft;
    this.steps = [...draft.steps];
    this.#uses = new Array(draft.values.length);
    this.#live = draft.steps.map((): Live => ({ during: 0, after: 0 }));
    this.#findUses();
    this.#measure();
  }

  /** The most bytes that are live at once, without gaps between values. */
  get peak(): number {
    return this.#live.reduce((most, { during }) => Math.max(most, during), 0);
  }

  /** The bytes that are live while the step at each position runs. */
  get live(): readonly number[] {
    return this.#live.map(({ during }) => during);
  }

  /** Returns the kernel at a position; undefined if there is none. */
  kernel(position: number): DraftKernel | undefined {
    const step = this.steps[position];
    return step?.kind === "kernel" ? step.kernel : undefined;
  }

  /** Returns the position that writes a value; −1 for what exists from the start. */
  writer(value: ValueId): number {
    return this.#uses[value]?.writer ?? -1;
  }

  /**
   * Returns the positions that read a value's memory, ascending; only of a value that a step writes, or that may be
   * overwritten.
   */
  readers(value: ValueId): readonly number[] {
    return this.#uses[value]?.readers ?? NONE;
  }

  /** Returns the bytes of arena that a value takes. */
  arenaBytes(value: ValueId): number {
    return this.#uses[value]?.bytes ?? 0;
  }

  /** Tests whether anything but the step at a position needs a value. */
  isReadBeyond(value: ValueId, position: number): boolean {
    const readers = this.readers(value);
    return this.#uses[value]?.isResult || readers.length > 1 ||
      (readers.length === 1 && readers[0] !== position);
  }

  /** Returns the donated input that a result is to be written over, as long as nothing reads it later. */
  predecessor(result: ValueId): ValueId | undefined {
    const predecessor = this.#uses[result]?.predecessor;
    return predecessor !== undefined && (this.readers(predecessor).at(-1) ?? -1) <= this.writer(result)
      ? predecessor
      : undefined;
  }

  /** Returns the result that is to be written over a donated input, as long as nothing reads the input later. */
  successor(input: ValueId): ValueId | undefined {
    const successor = this.#uses[input]?.successor;
    return successor !== undefined && this.predecessor(successor) === input ? successor : undefined;
  }

  /**
   * Tests whether changes keep every step within `limit`, or within its present bytes; `more` are the bytes that the
   * step at `position` allocates in addition.
   */
  allows(changes: readonly Change[], position: number, more: number, limit: number): boolean {
    if (more > 0 && at(this.#live, position).during + more > limit) return false;
    const rising = changes.filter(({ bytes }) => bytes > 0);
    if (rising.length === 0) return true;
    const from = Math.min(...rising.map((change) => change.from));
    const to = Math.max(...rising.map((change) => change.to));
    if (to - from > MAX_RANGE) return false;
    for (let t = from; t < to; t++) {
      let bytes = 0;
      for (const change of changes) if (change.from <= t && t < change.to) bytes += change.bytes;
      if (bytes <= 0) continue;
      const exceeds = at(this.#live, t).after + bytes > limit ||
        (t + 1 < to && at(this.#live, t + 1).during + bytes > limit);
      if (exceeds) return false;
    }
    return true;
  }

  /** Records that step `from` is now at `to`, or part of the step there. */
  move(from: number, to: number, writes: readonly ValueId[], reads: readonly ValueId[]): void {
    for (const value of writes) this.#use(value).writer = to;
    for (const value of reads) {
      const readers = this.#uses[value]?.readers;
      if (readers === undefined) continue;
      readers.splice(readers.indexOf(from), 1);
      const place = readers.findIndex((reader) => reader >= to);
      if (place < 0) readers.push(to);
      else if (readers[place] !== to) readers.splice(place, 0, to);
    }
  }

  /** Records that a step no longer reads a value. */
  forget(value: ValueId, reader: number): void {
    const readers = this.#uses[value]?.readers;
    const place = readers?.indexOf(reader) ?? -1;
    if (place >= 0) readers?.splice(place, 1);
  }

  /** Leaves one kernel, at `position`, of the steps at `merged`; it keeps the scope that is there. */
  replace(merged: readonly number[], position: number, kernel: DraftKernel): void {
    const replaced = at(this.steps, position);
    for (const each of merged) this.steps[each] = undefined;
    this.steps[position] = {
      kind: "kernel",
      kernel,
      scope: replaced?.kind === "kernel" ? replaced.scope : "",
    };
  }

  /** Records changes of the live memory; decreases over long ranges may be missed. */
  change(changes: readonly Change[], position: number, more: number): void {
    at(this.#live, position).during += more;
    for (const { from, to, bytes } of changes) {
      if (to - from > MAX_RANGE) continue;
      for (const [i, live] of this.#live.slice(from, to).entries()) {
        if (i > 0) live.during += bytes;
        live.after += bytes;
      }
    }
  }

  /** Returns the remaining steps as a new sequence. */
  finish(): StepSequence {
    return new StepSequence({ ...this.draft, steps: this.steps.filter((step) => step !== undefined) });
  }

  /** The use of a value, which is added if it is new. */
  #use(value: ValueId): Use {
    return this.#uses[value] ??= {
      writer: -1,
      readers: undefined,
      bytes: 0,
      isResult: false,
      predecessor: undefined,
      successor: undefined,
    };
  }

  #findUses(): void {
    const { program, values, views, steps, outputs } = this.draft;
    for (const [position, step] of steps.entries()) {
      for (const value of writesOf(step)) {
        const use = this.#use(value);
        use.writer = position;
        use.bytes = bytesOf(at(values, value));
      }
    }
    for (const { value, donor } of outputs) {
      const result = at(views, value);
      const use = this.#use(result);
      use.isResult = true;
      use.bytes = 0;
      if (donor === undefined || use.writer < 0) continue;
      const { value: input } = at(program.inputs, donor);
      this.#use(input).successor = result;
      use.predecessor = input;
    }
    for (const [position, step] of steps.entries()) {
      for (const value of readsOf(step, views)) {
        const use = this.#uses[value];
        if (use === undefined || (use.writer < 0 && use.successor === undefined)) continue;
        const readers = use.readers ??= [];
        if (readers.at(-1) !== position) readers.push(position);
      }
    }
  }

  #measure(): void {
    const { steps } = this.draft;
    /** The change of live bytes after each step. */
    const changes = steps.map(() => ({ bytes: 0 }));
    for (const use of this.#uses) {
      if (use === undefined || use.writer < 0) continue;
      const { writer, readers, bytes } = use;
      at(changes, writer).bytes += bytes;
      at(changes, Math.max(writer, readers?.at(-1) ?? -1)).bytes -= bytes;
    }
    let bytes = 0;
    for (const [position, step] of steps.entries()) {
      const live = at(this.#live, position);
      live.during = bytes + this.#allocated(step, position);
      bytes += at(changes, position).bytes;
      live.after = bytes;
    }
  }

  /** Returns the bytes that a step allocates: those of its outputs that are not written over an input's. */
  #allocated(step: DraftStep, position: number): number {
    const { values, views } = this.draft;
    let bytes = 0;
    for (const value of writesOf(step)) bytes += this.arenaBytes(value);
    if (bytes === 0 || step.kind === "op") return bytes;
    const outputs = writesOf(step).filter((value) => this.arenaBytes(value) > 0);
    const dying = readsOf(step, views).filter((value) =>
      this.arenaBytes(value) > 0 && this.readers(value).at(-1) === position
    );
    for (const value of inPlace(step, dying, outputs, values).keys()) bytes -= this.arenaBytes(value);
    return bytes;
  }
}
