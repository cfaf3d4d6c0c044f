import { bytesOf } from "../trace/dtype.ts";
import type { ValueId } from "../trace/program.ts";
import type { Draft } from "./draft.ts";
import { type Lowered, type LoweredStep, readsOf, writesOf } from "./lower.ts";
import { inPlace } from "./memory.ts";

/** Memory held more or less (negative) after each of steps `from … to − 1`. */
export interface Change {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

const NONE: readonly number[] = [];

/** Larger stretches are not searched for a step that would hold too much. */
const MAX_STRETCH = 512;

/**
 * The steps of a lowered program while they are merged and moved: who writes and reads each value, and how much memory
 * is held when. Positions do not change; a step that is gone leaves its place empty.
 */
export class Schedule {
  /** The steps, by position. */
  readonly steps: (LoweredStep | undefined)[];
  /** What the steps come from. */
  readonly lowered: Lowered;
  /** The position that writes each value; −1 for what is there from the start. */
  readonly #writers: Int32Array;
  /** The positions that read each value's memory, ascending; only of what is made, or may be written over. */
  readonly #readers: (number[] | undefined)[];
  /** Bytes of arena that each value takes: none for inputs, results and literals. */
  readonly #bytes: Float64Array;
  /** Results to be written over each donated input, and the other way round. */
  readonly #successors = new Map<ValueId, ValueId>();
  readonly #predecessors = new Map<ValueId, ValueId>();
  readonly #results = new Set<ValueId>();
  /** Bytes held after each position, and while it runs. */
  readonly #after: Float64Array;
  readonly #during: Float64Array;

  /** Starts from the steps as they were lowered. */
  constructor(lowered: Lowered) {
    const { program, values, views, outputs, literals } = lowered;
    this.lowered = lowered;
    this.steps = [...lowered.steps];
    this.#writers = new Int32Array(values.length).fill(-1);
    this.#readers = new Array(values.length);
    this.#bytes = new Float64Array(values.length);
    this.steps.forEach((step, at) => {
      for (const value of writesOf(step!)) {
        this.#writers[value] = at;
        this.#bytes[value] = bytesOf(values[value]);
      }
    });
    for (const value of literals.keys()) this.#bytes[value] = 0;
    for (const { value, donor } of outputs) {
      const result = views[value];
      this.#results.add(result);
      this.#bytes[result] = 0;
      const input = donor === undefined ? undefined : program.inputs[donor].value;
      if (input !== undefined && this.#writers[result] >= 0) {
        this.#successors.set(input, result);
        this.#predecessors.set(result, input);
      }
    }
    this.steps.forEach((step, at) => {
      for (const value of readsOf(step!, views)) {
        if (this.#writers[value] < 0 && !this.#successors.has(value)) continue;
        const readers = this.#readers[value] ??= [];
        if (readers.at(-1) !== at) readers.push(at);
      }
    });
    this.#after = new Float64Array(this.steps.length + 1);
    this.#during = new Float64Array(this.steps.length);
    this.#measure();
  }

  /** The most bytes held at once, were there no gaps between values. */
  get peak(): number {
    return this.#during.reduce((most, bytes) => Math.max(most, bytes), 0);
  }

  /** The bytes held while the step at each position runs. */
  get held(): ArrayLike<number> {
    return this.#during;
  }

  /** The kernel at a position, if there is one. */
  draft(at: number): Draft | undefined {
    const step = this.steps[at];
    return step?.kind === "kernel" ? step.draft : undefined;
  }

  /** The position that writes a value; −1 for what is there from the start. */
  writer(value: ValueId): number {
    return this.#writers[value];
  }

  /** The positions that read a value's memory, ascending; only of what is made, or may be written over. */
  readers(value: ValueId): readonly number[] {
    return this.#readers[value] ?? NONE;
  }

  /** Bytes of arena that a value takes. */
  arenaBytes(value: ValueId): number {
    return this.#bytes[value];
  }

  /** Whether a value is needed by anything but the step at a position. */
  isReadBeyond(value: ValueId, at: number): boolean {
    const readers = this.readers(value);
    return this.#results.has(value) || readers.length > 1 || (readers.length === 1 && readers[0] !== at);
  }

  /** The donated input that a result is to be written over, while nothing reads that later. */
  predecessor(result: ValueId): ValueId | undefined {
    const input = this.#predecessors.get(result);
    return input !== undefined && (this.readers(input).at(-1) ?? -1) <= this.#writers[result]
      ? input
      : undefined;
  }

  /** The result that is to be written over a donated input, while nothing reads that later. */
  successor(input: ValueId): ValueId | undefined {
    const result = this.#successors.get(input);
    return result !== undefined && this.predecessor(result) === input ? result : undefined;
  }

  /** Whether no step comes to hold both more than before and over `limit`; `more` is what `at` makes besides. */
  allows(changes: readonly Change[], at: number, more: number, limit: number): boolean {
    if (more > 0 && this.#during[at] + more > limit) return false;
    const rising = changes.filter(({ bytes }) => bytes > 0);
    if (rising.length === 0) return true;
    const from = Math.min(...rising.map((change) => change.from));
    const to = Math.max(...rising.map((change) => change.to));
    if (to - from > MAX_STRETCH) return false;
    for (let t = from; t < to; t++) {
      let bytes = 0;
      for (const change of changes) if (change.from <= t && t < change.to) bytes += change.bytes;
      if (
        bytes > 0 &&
        (this.#after[t] + bytes > limit || (t + 1 < to && this.#during[t + 1] + bytes > limit))
      ) {
        return false;
      }
    }
    return true;
  }

  /** Notes that step `from` is now at `to`, or part of the step there. */
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

  /** Notes that a step no longer reads a value. */
  forget(value: ValueId, reader: number): void {
    const readers = this.#readers[value]!;
    const place = readers.indexOf(reader);
    if (place >= 0) readers.splice(place, 1);
  }

  /** Notes changes of what is held; decreases over long stretches may go unnoticed. */
  hold(changes: readonly Change[], at: number, more: number): void {
    this.#during[at] += more;
    for (const { from, to, bytes } of changes) {
      if (to - from > MAX_STRETCH) continue;
      for (let t = from; t < to; t++) {
        this.#after[t] += bytes;
        if (t + 1 < to) this.#during[t + 1] += bytes;
      }
    }
  }

  /** The steps that are left, scheduled anew. */
  finish(): Schedule {
    return new Schedule({ ...this.lowered, steps: this.steps.filter((step) => step !== undefined) });
  }

  #measure(): void {
    const change = new Float64Array(this.steps.length + 1);
    this.#writers.forEach((writer, value) => {
      if (writer < 0) return;
      change[writer] += this.#bytes[value];
      change[Math.max(writer, this.readers(value).at(-1) ?? -1)] -= this.#bytes[value];
    });
    let held = 0;
    this.steps.forEach((step, at) => {
      const outputs = writesOf(step!).filter((value) => this.#bytes[value] > 0);
      const dying = new Set(
        readsOf(step!, this.lowered.views).filter((value) =>
          this.#bytes[value] > 0 && this.readers(value).at(-1) === at
        ),
      );
      let made = 0;
      for (const value of outputs) made += this.#bytes[value];
      for (const value of inPlace(step!, dying, outputs, this.lowered.values).keys()) {
        made -= this.#bytes[value];
      }
      this.#during[at] = held + made;
      held += change[at];
      this.#after[at] = held;
    });
  }
}
