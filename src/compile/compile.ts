import { hostArrays, type HostData, sizeOf } from "../trace/dtype.ts";
import type { Program } from "../trace/program.ts";
import { mergeAxes } from "./axes.ts";
import { fuse } from "./fuse.ts";
import { lower } from "./lower.ts";
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
  const unfused = new Schedule(lower(simple, target.maxKernelBuffers));
  const { lowered } = order(fuse(unfused, target.maxKernelBuffers));
  refuseLargeValues(lowered, target);
  const steps = lowered.steps.map((step): Step =>
    step.kind === "op" ? step : { kind: "kernel", kernel: mergeAxes(step.draft.kernel()), scope: step.scope }
  );
  const memory = planMemory(lowered, steps, target);
  const report = reportMemory(lowered, memory);
  refuseLargeTotal(program, report, target);
  const plan: Plan = {
    name: program.name,
    values: lowered.values,
    inputs: simple.inputs,
    outputs: lowered.outputs,
    donors: memory.donors,
    steps: memory.steps,
    locations: memory.locations,
    constants: [...lowered.literals.values()].map(({ shape, dtype, values }) => ({
      aval: { shape, dtype },
      data: Object.assign(new hostArrays[dtype](sizeOf(shape)), values) as HostData,
    })),
    arenaBytes: memory.arenaBytes,
    memory: report,
  };
  if (verify) verifyPlan(plan, target, simple);
  return plan;
}
