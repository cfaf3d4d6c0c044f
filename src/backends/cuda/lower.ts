import { structuredOnly } from "../structured_only.ts";
import { at } from "../../base/at.ts";
import type { Plan, Workspace } from "../../compile/plan.ts";
import { placeKey, placeOf } from "../place.ts";
import { fused } from "./fused.ts";
import { type Fuses, kernelLaunches, type Launch } from "./launch.ts";
import { spareStretches } from "./spare.ts";
import { structured } from "./structured.ts";
import { ALIGNMENT } from "./target.ts";

/**
 * The launches of a plan, in order. Needs no device.
 *
 * @param fuses By default every product takes an epilogue, and no convolution.
 */
export function lowerPlan(plan: Plan, fuses: Fuses = ({ op }) => op === "matmul"): Launch[] {
  const spare = spareStretches(plan, ALIGNMENT);
  const launches: Launch[] = [];
  for (let index = 0; index < plan.steps.length; index++) {
    const lowered = lowerStep(plan, index, at(spare, index), fuses);
    launches.push(...lowered);
    if (lowered.some((launch) => "epilogue" in launch)) index++; // the epilogue is the next step
  }
  return launches;
}

/** The launches of one step of a plan, and of the next step where a library applies it as an epilogue. */
function lowerStep(plan: Plan, index: number, spare: Workspace, fuses: Fuses): Launch[] {
  const step = at(plan.steps, index);
  if (step.kind === "op") {
    return structured(structuredOnly(step.instruction), { plan, step, index, spare, fuses });
  }
  return kernelLaunches(
    fused(step.kernel, plan.values, (value) => placeKey(placeOf(plan, step, value))),
    step,
  );
}
