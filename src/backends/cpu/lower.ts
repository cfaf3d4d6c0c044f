import type { Step } from "../../compile/plan.ts";
import type { Aval } from "../../trace/dtype.ts";
import { fused } from "./fused.ts";
import type { Launches } from "./routine.ts";
import { structured } from "./structured.ts";

/** The launches of steps seen before: each step is lowered when it is planned, and again when its plan is compiled. */
const known = new WeakMap<object, Launches>();

/** The launches of a step, and the workspace they need. */
export function lowerStep(step: Step, values: readonly Aval[]): Launches {
  const key = step.kind === "kernel" ? step.kernel : step.instruction;
  let launches = known.get(key);
  if (launches === undefined) {
    launches = step.kind === "kernel" ? fused(step.kernel, values) : structured(step.instruction, values);
    known.set(key, launches);
  }
  return launches;
}
