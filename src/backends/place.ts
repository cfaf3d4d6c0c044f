import { at } from "../base/at.ts";
import type { Plan, Step } from "../compile/plan.ts";
import type { ValueId } from "../trace/program.ts";

/** An operand of a kernel: a value of the program, or the workspace of its step. */
export type Slot = ValueId | "workspace";

/** The memory of a value: one of the plan's own buffers, or a place in the arena. */
export interface Place {
  readonly kind: "input" | "output" | "constant" | "arena";
  /** The index of the buffer; 0 for the arena. */
  readonly index: number;
  /** The first byte in it. */
  readonly offset: number;
}

/** The place of a value, or of a step's workspace. */
export function placeOf(plan: Plan, step: Step, slot: Slot): Place {
  if (slot === "workspace") {
    if (step.workspace === undefined) throw new Error(`${plan.name}: a step has no workspace`);
    return { kind: "arena", index: 0, offset: step.workspace.offset };
  }
  const location = plan.locations[slot];
  if (location === undefined) throw new Error(`${plan.name}: value ${slot} has no place in the plan`);
  if (location.kind === "arena") return { kind: "arena", index: 0, offset: location.offset };
  // A result with a donor is written into that input.
  const donor = location.kind === "output" ? at(plan.donors, location.index) : -1;
  return donor >= 0 ? { kind: "input", index: donor, offset: 0 } : { ...location, offset: 0 };
}

/** A place as text: equal for values that share memory. */
export function placeKey(
  { kind, index, offset }: { readonly kind: string; readonly index: number; readonly offset: number },
): string {
  return `${kind} ${index} ${offset}`;
}
