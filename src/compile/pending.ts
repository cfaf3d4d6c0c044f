import { at } from "../base/at.ts";
import { bytesOf } from "../trace/dtype.ts";
import { type CollectiveInstruction, isCollectiveInstruction, type ValueId } from "../trace/program.ts";
import type { Plan, Step } from "./plan.ts";

/** A collective step of a plan, and how long it may run beside the steps after it. */
export interface PendingStep {
  /** Its position. */
  readonly position: number;
  /** Its op. */
  readonly instruction: CollectiveInstruction;
  /**
   * The position of the first later step that reads or writes its result's memory, which has to wait for it; the number of
   * steps if there is none.
   */
  readonly before: number;
}

/** Some bytes of a buffer. */
interface Range {
  readonly buffer: string;
  readonly from: number;
  readonly to: number;
}

/** Returns the collective steps of a plan, in order, each with the first step that waits for it. */
export function pendingSteps(plan: Plan): readonly PendingStep[] {
  const { steps } = plan;
  return steps.flatMap((step, position) => {
    if (step.kind !== "op" || !isCollectiveInstruction(step.instruction)) return [];
    const { instruction } = step;
    const own = rangeOf(plan, instruction.output);
    let before = position + 1;
    while (before < steps.length && !touches(plan, at(steps, before), own)) before++;
    return [{ position, instruction, before }];
  });
}

function touches(plan: Plan, step: Step, { buffer, from, to }: Range): boolean {
  const ranges = valuesOf(step).map((value) => rangeOf(plan, value));
  if (step.workspace !== undefined) {
    const { offset, bytes } = step.workspace;
    ranges.push({ buffer: "arena", from: offset, to: offset + bytes });
  }
  return ranges.some((other) => other.buffer === buffer && other.from < to && from < other.to);
}

/** The values whose memory a step reads or writes. */
function valuesOf(step: Step): readonly ValueId[] {
  if (step.kind === "op") return [...step.instruction.inputs, step.instruction.output];
  const { inputs, stores, reduce } = step.kernel;
  return [...inputs, ...[...stores, ...reduce?.stores ?? []].map(({ output }) => output)];
}

/** The memory of a value; a result that is written over an input is in that input's. */
function rangeOf({ locations, values, donors }: Plan, value: ValueId): Range {
  const location = at(locations, value);
  const bytes = bytesOf(at(values, value));
  if (location === undefined) return { buffer: "", from: 0, to: 0 };
  if (location.kind === "arena") {
    return { buffer: "arena", from: location.offset, to: location.offset + bytes };
  }
  const donor = location.kind === "output" ? at(donors, location.index) : -1;
  return { buffer: donor >= 0 ? `input ${donor}` : `${location.kind} ${location.index}`, from: 0, to: bytes };
}
