import type { Plan, Step } from "../../compile/plan.ts";
import type { ValueId } from "../../trace/program.ts";

/** Where a value's bytes are: one of the plan's own buffers, or a place in the arena. */
export interface Place {
  readonly kind: "input" | "output" | "constant" | "arena";
  /** Which buffer; 0 for the arena. */
  readonly index: number;
  /** First byte in it. */
  readonly offset: number;
}

/** Where a value, or a step's workspace, is. */
export function placeOf(plan: Plan, step: Step, slot: ValueId | "workspace"): Place {
  if (slot === "workspace") {
    if (step.workspace === undefined) throw new Error(`cuda: ${plan.name}: a step lacks its workspace`);
    return { kind: "arena", index: 0, offset: step.workspace.offset };
  }
  const location = plan.locations[slot];
  if (location === undefined) throw new Error(`cuda: ${plan.name}: value ${slot} has no place in the plan`);
  if (location.kind === "arena") return { kind: "arena", index: 0, offset: location.offset };
  // A result with a donor is written into that input.
  const donor = location.kind === "output" ? plan.donors[location.index] : -1;
  return donor >= 0 ? { kind: "input", index: donor, offset: 0 } : { ...location, offset: 0 };
}
