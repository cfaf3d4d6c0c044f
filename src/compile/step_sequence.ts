import { at } from "../base/at.ts";
import type { ValueId } from "../trace/program.ts";
import type { DraftKernel } from "./draft_kernel.ts";
import { type DraftPlan, type DraftStep, isCollectiveStep, readsOf, writesOf } from "./draft_plan.ts";
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
  // By value, in one list for each property, which takes less time and memory than an object for each value.
  /** The position that writes it; −1 for what exists from the start. */
  readonly #writers: Int32Array;
  /** The positions that read its memory, ascending; only of a value that a step writes, or that may be overwritten. */
  readonly #readers: (number[] | undefined)[];
  /** Bytes of arena that it takes: none for inputs, results and literals. */
  readonly #bytes: Float64Array;
  readonly #results = new Set<ValueId>();
  /** The donated input that a result is to be written over, and the other way round. */
  readonly #predecessors = new Map<ValueId, ValueId>();
  readonly #successors = new Map<ValueId, ValueId>();
  /** Bytes that are live while the step at each position runs, and after it. */
  readonly #during: Float64Array;
  readonly #after: Float64Array;

  /** Starts from the steps of a draft plan. */
  constructor(draft: DraftPlan) {
    this.draft = draft;
    this.steps = [...draft.steps];
    const { length } = draft.values;
    this.#writers = new Int32Array(length).fill(-1);
    this.#readers = new Array(length);
    this.#bytes = new Float64Array(length);
    this.#during = new Float64Array(draft.steps.length);
    this.#after = new Float64Array(draft.steps.length);
    this.#findWriters();
    this.#findReaders();
    this.#measure();
  }

  /** The most bytes that are live at once, without gaps between values. */
  get peak(): number {
    let most = 0;
    for (const bytes of this.#during) most = Math.max(most, bytes);
    return most;
  }

  /** The bytes that are live while the step at each position runs. */
  get live(): ArrayLike<number> {
    return this.#during;
  }

  /** Returns the bytes that the step at a position adds to those that are live before it, while it runs. */
  allocated(position: number): number {
    return bytesAt(this.#during, position) - bytesAt(this.#after, position - 1);
  }

  /** Returns the kernel at a position; undefined if there is none. */
  kernel(position: number): DraftKernel | undefined {
    const step = this.steps[position];
    return step?.kind === "kernel" ? step.kernel : undefined;
  }

  /** Returns the position that writes a value; −1 for what exists from the start. */
  writer(value: ValueId): number {
    return this.#writers[value] ?? -1;
  }

  /**
   * Returns the positions that read a value's memory, ascending; only of a value that a step writes, or that may be
   * overwritten.
   */
  readers(value: ValueId): readonly number[] {
    return this.#readers[value] ?? NONE;
  }

  /** True for the result of an exchange, which runs beside other steps until one reads it. */
  isExchanged(value: ValueId): boolean {
    const step = this.steps[this.writer(value)];
    return step !== undefined && isCollectiveStep(step);
  }

  /** Returns the bytes of arena that a value takes. */
  arenaBytes(value: ValueId): number {
    return this.#bytes[value] ?? 0;
  }

  /** Tests whether anything but the step at a position needs a value. */
  isReadBeyond(value: ValueId, position: number): boolean {
    const readers = this.readers(value);
    return readers.length > 1 || (readers.length === 1 && readers[0] !== position) ||
      this.#results.has(value);
  }

  /** Returns the donated input that a result is to be written over, as long as nothing reads it later. */
  predecessor(result: ValueId): ValueId | undefined {
    const predecessor = this.#predecessors.get(result);
    return predecessor !== undefined && (this.readers(predecessor).at(-1) ?? -1) <= this.writer(result)
      ? predecessor
      : undefined;
  }

  /** Returns the result that is to be written over a donated input, as long as nothing reads the input later. */
  successor(input: ValueId): ValueId | undefined {
    const successor = this.#successors.get(input);
    return successor !== undefined && this.predecessor(successor) === input ? successor : undefined;
  }

  /**
   * Tests whether changes keep every step within `limit`, or within its present bytes; `more` are the bytes that the
   * step at `position` allocates in addition.
   */
  allows(changes: readonly Change[], position: number, more: number, limit: number): boolean {
    if (more > 0 && bytesAt(this.#during, position) + more > limit) return false;
    let [from, to] = [Infinity, -Infinity];
    for (const change of changes) {
      if (change.bytes <= 0) continue;
      from = Math.min(from, change.from);
      to = Math.max(to, change.to);
    }
    if (to - from > MAX_RANGE) return false;
    for (let t = from; t < to; t++) {
      let bytes = 0;
      for (const change of changes) if (change.from <= t && t < change.to) bytes += change.bytes;
      if (bytes <= 0) continue;
      const exceeds = bytesAt(this.#after, t) + bytes > limit ||
        (t + 1 < to && bytesAt(this.#during, t + 1) + bytes > limit);
      if (exceeds) return false;
    }
    return true;
  }

  /** Records that step `from` is now at `to`, or part of the step there. */
  move(from: number, to: number, writes: readonly ValueId[], reads: readonly ValueId[]): void {
    for (const value of writes) this.#writers[value] = to;
    for (const value of reads) {
      const readers = this.#readers[value];
      if (readers === undefined) continue;
      readers.splice(readers.indexOf(from), 1);
      const place = readers.findIndex((reader) => reader >= to);
      if (place < 0) readers.push(to);
      else if (readers[place] !== to) readers.splice(place, 0, to);
    }
  }

  /** Records that a step no longer reads a value. */
  forget(value: ValueId, reader: number): void {
    const readers = this.#readers[value];
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
    add(this.#during, position, more);
    for (const { from, to, bytes } of changes) {
      if (to - from > MAX_RANGE) continue;
      for (let t = from; t < to; t++) {
        if (t > from) add(this.#during, t, bytes);
        add(this.#after, t, bytes);
      }
    }
  }

  /** Returns the remaining steps as a new sequence. */
  finish(): StepSequence {
    return new StepSequence({ ...this.draft, steps: this.steps.filter((step) => step !== undefined) });
  }

  #findWriters(): void {
    const { program, views, bytes, steps, outputs } = this.draft;
    steps.forEach((step, position) => {
      for (const value of writesOf(step)) {
        this.#writers[value] = position;
        this.#bytes[value] = at(bytes, value);
      }
    });
    for (const { value, donor } of outputs) {
      const result = at(views, value);
      this.#results.add(result);
      this.#bytes[result] = 0;
      if (donor === undefined || this.writer(result) < 0) continue;
      const { value: input } = at(program.inputs, donor);
      this.#successors.set(input, result);
      this.#predecessors.set(result, input);
    }
  }

  #findReaders(): void {
    this.draft.steps.forEach((step, position) => {
      for (const value of readsOf(step)) {
        if (this.writer(value) < 0 && !this.#successors.has(value)) continue;
        const readers = this.#readers[value];
        if (readers === undefined) this.#readers[value] = [position];
        else if (readers.at(-1) !== position) readers.push(position);
      }
    });
  }

  #measure(): void {
    const { steps } = this.draft;
    /** The change of live bytes after each step. */
    const changes = new Float64Array(steps.length);
    steps.forEach((step, position) => {
      for (const value of writesOf(step)) {
        const bytes = this.arenaBytes(value);
        add(changes, position, bytes);
        add(changes, Math.max(position, this.readers(value).at(-1) ?? -1), -bytes);
      }
    });
    let bytes = 0;
    steps.forEach((step, position) => {
      this.#during[position] = bytes + this.#allocated(step, position);
      bytes += bytesAt(changes, position);
      this.#after[position] = bytes;
    });
  }

  /** Returns the bytes that a step allocates: those of its outputs that are not written over an input's. */
  #allocated(step: DraftStep, position: number): number {
    let bytes = 0;
    for (const value of writesOf(step)) bytes += this.arenaBytes(value);
    if (bytes === 0) return bytes;
    const isDying = (value: ValueId) => this.arenaBytes(value) > 0 && this.readers(value).at(-1) === position;
    const outputs = writesOf(step).filter((value) => this.arenaBytes(value) > 0);
    for (const value of inPlace(step, isDying, outputs, this.draft.bytes).keys()) {
      bytes -= this.arenaBytes(value);
    }
    return bytes;
  }
}

/** Returns the bytes at a position within bounds. */
function bytesAt(bytes: Float64Array, position: number): number {
  return bytes[position] ?? 0; // at() is slower here, being shared by arrays of all kinds
}

function add(bytes: Float64Array, position: number, more: number): void {
  bytes[position] = bytesAt(bytes, position) + more;
}
