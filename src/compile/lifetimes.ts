import type { ValueId } from "../trace/program.ts";
import type { Makers } from "./makers.ts";
import type { Gap } from "./rebuild.ts";
import type { StepSequence } from "./step_sequence.ts";

const NONE: readonly number[] = [];

/** The lifetimes of a sequence's values while some of them are dropped, and rebuilt from others. */
export class Lifetimes {
  readonly #sequence: StepSequence;
  readonly #makers: Makers;
  /** The gaps of each dropped value. */
  readonly #gaps = new Map<ValueId, Gap[]>();
  /** The steps before which something is rebuilt from each value. */
  readonly #needs = new Map<ValueId, number[]>();

  /** Starts with nothing dropped. */
  constructor(sequence: StepSequence, makers: Makers) {
    this.#sequence = sequence;
    this.#makers = makers;
  }

  /** Records that something is rebuilt from a value right before a step. */
  need(value: ValueId, step: number): void {
    push(this.#needs, value, step);
  }

  /** Takes back the latest need of a value. */
  forgetNeed(value: ValueId): void {
    this.#needs.get(value)?.pop();
  }

  /** Returns the steps before which something is rebuilt from a value, in the order in which they were recorded. */
  needs(value: ValueId): readonly number[] {
    return this.#needs.get(value) ?? NONE;
  }

  /** Records that a value is dropped. */
  drop(gap: Gap): void {
    push(this.#gaps, gap.value, gap);
  }

  /** Takes back that a value is dropped. */
  keep(gap: Gap): void {
    const gaps = this.#gaps.get(gap.value);
    const place = gaps?.indexOf(gap) ?? -1;
    if (place >= 0) gaps?.splice(place, 1);
  }

  /** Returns the gap in which a value is dropped before a step, or at whose end it is rebuilt right before the step. */
  gapAt(value: ValueId, step: number): Gap | undefined {
    return this.#gaps.get(value)?.find(({ from, to }) => from < step && step <= to);
  }

  /** Tests whether a value is dropped before a step. */
  isInGap(value: ValueId, step: number): boolean {
    return this.gapAt(value, step) !== undefined;
  }

  /** Tests whether a step makes the value. */
  isMade(value: ValueId): boolean {
    return this.#sequence.writer(value) >= 0;
  }

  /** Tests whether a stored value is live right before a step. */
  isLiveBefore(value: ValueId, step: number): boolean {
    const sequence = this.#sequence;
    if (!this.isMade(value)) {
      const maker = this.#makers.find(value);
      if (maker !== undefined) return maker.op === "constant";
      const successor = sequence.successor(value);
      return successor === undefined || sequence.writer(successor) >= step;
    }
    return sequence.writer(value) < step && step <= this.end(value) && !this.isInGap(value, step);
  }

  /** The last step that needs a value; Infinity for results. */
  end(value: ValueId): number {
    const sequence = this.#sequence;
    if (sequence.arenaBytes(value) === 0) return Infinity;
    const last = sequence.readers(value).at(-1) ?? sequence.writer(value);
    return Math.max(last, ...this.needs(value));
  }
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
