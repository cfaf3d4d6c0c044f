import type { MemoryReport, Target } from "../../compile/plan.ts";
import type { Recompute } from "../../compile/recomputation.ts";
import { stepPlan } from "../memory.ts";
import type { Method } from "../method.ts";
import type { Modules, Partition } from "../partition/partition.ts";
import { type Setup, setup, type SetupOptions } from "../setup.ts";
import { type Speeds, stepTime, totalTime } from "../step_time.ts";

/** A way to train a network: everything that a search within a limit may choose. */
export interface Way {
  /** The method. */
  readonly method: Method;
  /** The cut. */
  readonly modules: Modules;
  /** What is recomputed in the backward pass. */
  readonly recompute: Recompute;
  /** The micro-batches of a step's batch. */
  readonly accumulate: number;
}

/** A way to train, planned. */
export interface PlannedWay extends Way {
  /** Images per step. */
  readonly batch: number;
  /** The planned memory of a step. */
  readonly memory: MemoryReport;
  /** Its peak, in bytes. */
  readonly peakBytes: number;
  /** The predicted time of a step, in seconds. */
  readonly seconds: number;
  /** In words, such as `man+dgl, 4 modules, recomputing`. */
  readonly description: string;
}

/** The run that ways are planned for: all that a search leaves as it is. */
export interface Run extends Omit<SetupOptions, "method" | "modules" | "accumulate"> {
  readonly batch: number;
  readonly target: Target;
  readonly speeds: Speeds;
}

/** The setup of a way. */
export function setupOfWay(
  { batch: _batch, target: _target, speeds: _speeds, ...run }: Run,
  way: Way,
): Setup {
  const { method, modules, accumulate } = way;
  return setup({ ...run, method, modules, ...(accumulate === 1 ? {} : { accumulate }) });
}

/** Plans a way. */
export function planWay(run: Run, way: Way): PlannedWay {
  const { modules, recompute } = way;
  return { ...plannedWay(setupOfWay(run, way), { ...run, recompute }), modules };
}

/** Plans the way that a setup is. */
export function plannedWay(
  setup: Setup,
  { batch, target, speeds, recompute }: Pick<Run, "batch" | "target" | "speeds"> & Pick<Way, "recompute">,
): PlannedWay {
  const { method, partition, modules, accumulate = 1 } = setup;
  const plan = stepPlan(setup, batch, target, { recompute });
  const { memory } = plan;
  return {
    ...{ method, accumulate, batch, memory },
    modules: { after: boundariesOf(setup) },
    recompute: memory.recompute === undefined ? false : recompute,
    peakBytes: memory.peakBytes,
    seconds: totalTime(stepTime(plan, modules.length, speeds)),
    description: describeWay({ method, accumulate }, partition, memory.recompute !== undefined),
  };
}

/** The blocks that a network is cut after. */
function boundariesOf({ modules }: Setup): string[] {
  return modules.slice(0, -1).map(({ blocks }) => blocks.at(-1)?.name ?? "stem");
}

/** A way in words. */
function describeWay(
  { method, accumulate }: Pick<Way, "method" | "accumulate">,
  { how, modules }: Partition,
  recomputes: boolean,
): string {
  return [
    method.name,
    ...(modules.length === 1 ? [] : [`${modules.length} modules${how.length > LONG ? "" : ` (${how})`}`]),
    ...(recomputes ? ["recomputing"] : []),
    ...(accumulate === 1 ? [] : [`${accumulate} micro-batches`]),
  ].join(", ");
}

/** A longer description of a cut is not worth reading. */
const LONG = 60;
