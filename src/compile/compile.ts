import { toBf16 } from "../trace/bf16.ts";
import { type DType, hostArrays, type HostData, sizeOf } from "../trace/dtype.ts";
import type { Program } from "../trace/program.ts";
import { mergeAxes } from "./axes.ts";
import { fuse } from "./fuse.ts";
import { lower, type Lowered } from "./lower.ts";
import { planMemory } from "./memory.ts";
import { order } from "./order.ts";
import type { Plan, Step, Target } from "./plan.ts";
import { type Effort, recompute } from "./recompute.ts";
import { refuseDtypes, refuseLargeTotal, refuseLargeValues, refuseManyPoints } from "./refuse.ts";
import { reportMemory } from "./report.ts";
import { Schedule } from "./schedule.ts";
import { simplify } from "./simplify.ts";
import { verifyPlan } from "./verify_plan.ts";
import { verifyProgram } from "./verify_program.ts";
import { workOf } from "./work.ts";

/** Computing more again must lower the peak by this part. */
const WORTHWHILE = 1 / 200;

/**
 * The steps by which it is chosen what to compute again, given the schedule as it is and the steps before fusion: in the
 * order of the program, where more can be fused; ordered, which holds less; or as they are, which says best what is held.
 */
type View = (schedule: Schedule, unfused: () => Schedule) => Schedule;
const asTraced: View = (_, unfused) => unfused();
const ordered: View = (_, unfused) => order(unfused());
const fused: View = (schedule) => schedule;

/** Options of {@link compile}. */
export interface CompileOptions {
  /** Check the program after every pass, and the plan; default false. */
  readonly verify?: boolean;
  /**
   * Compute cheap element-wise results again where the backward pass needs them, instead of holding them, where that
   * lowers the peak; default false. Results keep their bits.
   */
  readonly recompute?: boolean;
}

/**
 * Turns a program into a plan: simplified, fused into kernels, ordered, and with a place in memory for every value.
 * Raises a LocalgradError where a value or the whole is too large for the target.
 */
export function compile(program: Program, target: Target, options: CompileOptions = {}): Plan {
  const { verify = false, recompute: again = false } = options;
  const { maxKernelBuffers } = target;
  const scheduled = (program: Program): Schedule => {
    if (verify) verifyProgram(program);
    return schedule(program, maxKernelBuffers);
  };
  const placed = ({ lowered }: Schedule): Plan => {
    const plan = place(lowered, target);
    if (verify) verifyPlan(plan, target, lowered.program);
    return plan;
  };
  /** The leanest of what recomputing gives, chosen by each of several orders; an earlier one where a later gains little. */
  const leanest = (start: Schedule, effort: Effort, views: readonly View[]): Schedule => {
    let lowered: Schedule | undefined;
    const unfused = () => lowered ??= new Schedule(lower(start.lowered.program, maxKernelBuffers));
    return views.reduce((best, view) => {
      const rewritten = recompute(view(start, unfused), effort);
      const again = rewritten === undefined ? best : scheduled(rewritten);
      return again.peak < best.peak * (1 - WORTHWHILE) ? again : best;
    }, start);
  };
  refuseDtypes(program, target);
  if (verify) verifyProgram(program);
  const plain = leanest(scheduled(simplify(program)), "free", [ordered]);
  const plan = placed(plain);
  const lean = again ? leanest(leanest(plain, "cheap", [asTraced, ordered]), "cheap", [fused]) : plain;
  const chosen = lean === plain ? plan : withCost(plan, placed(lean));
  refuseLargeTotal(program, chosen.memory, target);
  return chosen;
}

/** The plan that recomputes, with what that costs, where its peak is lower. */
function withCost(plain: Plan, recomputed: Plan): Plan {
  if (recomputed.memory.peakBytes >= plain.memory.peakBytes) return plain;
  const [before, after] = [workOf(plain), workOf(recomputed)];
  const recompute = {
    operations: after.operations - before.operations,
    bytes: after.bytes - before.bytes,
    of: before,
  };
  return { ...recomputed, memory: { ...recomputed.memory, recompute }, without: plain.memory };
}

/** Turns a program into steps, fused and ordered. */
export function schedule(program: Program, maxKernelBuffers: number): Schedule {
  const lowerAll = () => new Schedule(lower(program, maxKernelBuffers));
  const unfused = lowerAll();
  const { peak } = unfused;
  const fused = fuse(unfused, maxKernelBuffers);
  // Fusion keeps to the peak but for writes in place that a merged kernel cannot do, which is rare.
  return order(fused.peak <= peak ? fused : lowerAll());
}

/** Gives everything of a lowered program its place: the last pass. */
export function place(lowered: Lowered, target: Target): Plan {
  const { program, values, outputs, literals } = lowered;
  refuseLargeValues(lowered, target);
  const steps = lowered.steps.map((step): Step =>
    step.kind === "op" ? step : { kind: "kernel", kernel: mergeAxes(step.draft.kernel()), scope: step.scope }
  );
  refuseManyPoints(program.name, steps);
  const memory = planMemory(lowered, steps, target);
  const report = reportMemory(lowered, memory);
  return {
    name: program.name,
    values,
    inputs: program.inputs,
    outputs,
    donors: memory.donors,
    steps: memory.steps,
    locations: memory.locations,
    constants: [...literals.values()].map(({ shape, dtype, values }) => ({
      aval: { shape, dtype },
      data: literalData(values, sizeOf(shape), dtype),
    })),
    arenaBytes: memory.arenaBytes,
    memory: report,
  };
}

function literalData(values: readonly number[], count: number, dtype: DType): HostData {
  if (dtype === "bf16") return toBf16(values);
  return Object.assign(new hostArrays[dtype](count), values) as HostData;
}
