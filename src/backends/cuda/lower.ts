import { at } from "../../base/at.ts";
import { type PendingStep, pendingSteps } from "../../compile/pending.ts";
import type { Kernel } from "../../compile/kernel.ts";
import type { Plan, Step, Workspace } from "../../compile/plan.ts";
import type { ValueId } from "../../trace/program.ts";
import { structuredOnly } from "../structured_only.ts";
import { placeKey, placeOf } from "../place.ts";
import { streamsOf } from "./branches.ts";
import { chainFrom } from "./chain.ts";
import { fused } from "./fused.ts";
import { type Fuses, kernelLaunches, type Launch } from "./launch.ts";
import { exchangeLaunches, joinLaunches } from "./nccl/lower.ts";
import { sideBySide } from "./side_by_side.ts";
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
  const join = (pending: PendingStep) => joinLaunches(plan, at(plan.steps, pending.position), pending);
  const pending = new Map(pendingSteps(plan).map((each) => [each.position, each]));
  /** The exchanges that are under way. */
  let open: readonly PendingStep[] = [];
  const launches: Launch[] = [];
  for (let index = 0; index < plan.steps.length; index++) {
    const exchange = pending.get(index);
    const [kernel, ...chained] = exchange === undefined ? chainFrom(plan, index) : [];
    const lowered = exchange !== undefined
      ? exchangeLaunches(plan, at(plan.steps, index), exchange)
      : kernel === undefined
      ? lowerStep(plan, index, at(spare, index), fuses)
      : lowerKernels(plan, at(plan.steps, index), [kernel, ...chained]);
    index += chained.length;
    if (lowered.some((launch) => "epilogue" in launch)) index++; // the epilogue is the next step
    const due = open.filter(({ before }) => before <= index);
    open = open.filter(({ before }) => before > index);
    launches.push(...due.flatMap(join), ...lowered);
    if (exchange !== undefined) open = [...open, exchange];
  }
  launches.push(...open.flatMap(join)); // a captured graph ends when all of it has
  const streamOf = streamsOf(plan);
  return sideBySide(launches, plan, streamOf).map((launch) =>
    streamOf(launch) === 0 ? launch : apart(launch)
  );
}

/** A launch of the second stream. It shares no counters with one of the first, which may run at the same time. */
function apart(launch: Launch): Launch {
  if (launch.kind !== "kernel" || (launch.call.body?.tickets ?? 0) === 0) return launch;
  return { ...launch, call: { ...launch.call, text: `${launch.call.text}\n// on the second stream` } };
}

/** The launches of one step of a plan, and of the next step where a library applies it as an epilogue. */
function lowerStep(plan: Plan, index: number, spare: Workspace, fuses: Fuses): Launch[] {
  const step = at(plan.steps, index);
  if (step.kind === "op") {
    return structured(structuredOnly(step.instruction), { plan, step, index, spare, fuses });
  }
  return lowerKernels(plan, step, [step.kernel]);
}

/** The launch of a step's kernel, and of those chained to it. */
function lowerKernels(plan: Plan, step: Step, kernels: readonly [Kernel, ...Kernel[]]): Launch[] {
  const place = (value: ValueId) => placeKey(placeOf(plan, step, value));
  const call = fused(kernels, plan.values, place, step.workspace !== undefined);
  return kernelLaunches([call], step);
}
