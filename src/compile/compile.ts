import { hostArrays, type HostData, sizeOf } from "../trace/dtype.ts";
import type { Program } from "../trace/program.ts";
import { mergeAxes } from "./axes.ts";
import { fuse } from "./fuse.ts";
import { lower, type Lowered } from "./lower.ts";
import { planMemory } from "./memory.ts";
import { order } from "./order.ts";
import type { Plan, Step, Target } from "./plan.ts";
import { refuseLargeTotal, refuseLargeValues } from "./refuse.ts";
import { reportMemory } from "./report.ts";
import { Schedule } from "./schedule.ts";
import { simplify } from "./simplify.ts";
import { verifyPlan } from "./verify_plan.ts";
import { verifyProgram } from "./verify_program.ts";

/** Options of {@link compile}. */
export interface CompileOptions {
  /** Check the program after every pass, and the plan; default false. */
  readonly verify?: boolean;
}

/**
 * Turns a program into a plan: simplified, fused into kernels, ordered, and with a place in memory for every value.
 * Raises a LocalgradError where a value or the whole is too large for the target.
 */
export function compile(program: Program, target: Target, options: CompileOptions = {}): Plan {
  const { verify = false } = options;
  if (verify) verifyProgram(program);
  const simple = simplify(program);
  if (verify) verifyProgram(simple);
  const plan = place(schedule(simple, target.maxKernelBuffers).lowered, target);
  if (verify) verifyPlan(plan, target, simple);
  return plan;
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
  refuseLargeTotal(program, report, target);
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
      data: Object.assign(new hostArrays[dtype](sizeOf(shape)), values) as HostData,
    })),
    arenaBytes: memory.arenaBytes,
    memory: report,
  };
}
