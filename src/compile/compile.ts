import { toBf16 } from "../trace/bf16.ts";
import { type DType, hostArrays, type HostData, sizeOf } from "../trace/dtype.ts";
import type { Program } from "../trace/program.ts";
import { mergeAxes } from "./axes.ts";
import { fuse } from "./fuse.ts";
import { lower, type Lowered } from "./lower.ts";
import { planMemory } from "./memory.ts";
import { order } from "./order.ts";
import type { Plan, Step, Target } from "./plan.ts";
import { recompute } from "./recompute.ts";
import { refuseDtypes, refuseLargeTotal, refuseLargeValues } from "./refuse.ts";
import { reportMemory } from "./report.ts";
import { Schedule } from "./schedule.ts";
import { simplify } from "./simplify.ts";
import { verifyPlan } from "./verify_plan.ts";
import { verifyProgram } from "./verify_program.ts";
import { workOf } from "./work.ts";

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
  const planned = (program: Program): Plan => {
    if (verify) verifyProgram(program);
    const plan = place(schedule(program, target.maxKernelBuffers).lowered, target);
    if (verify) verifyPlan(plan, target, program);
    return plan;
  };
  refuseDtypes(program, target);
  if (verify) verifyProgram(program);
  const simple = simplify(program);
  const { maxKernelBuffers } = target;
  const plain = planned(recompute(simple, maxKernelBuffers, "free") ?? simple);
  const leaner = again ? recompute(simple, maxKernelBuffers, "cheap") : undefined;
  const plan = leaner === undefined ? plain : leanest(plain, planned(leaner));
  refuseLargeTotal(program, plan.memory, target);
  return plan;
}

/** The plan that recomputes, with what that costs, where its peak is lower. */
function leanest(plain: Plan, recomputed: Plan): Plan {
  if (recomputed.memory.peakBytes >= plain.memory.peakBytes) return plain;
  const [before, after] = [workOf(plain), workOf(recomputed)];
  const recompute = {
    operations: after.operations - before.operations,
    bytes: after.bytes - before.bytes,
    of: before,
  };
  return { ...recomputed, memory: { ...recomputed.memory, recompute } };
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
