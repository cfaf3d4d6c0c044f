import { at } from "../base/at.ts";
import type { Plan, Step } from "../compile/plan.ts";
import { expectSpeeds, type Speeds, timeOf } from "../compile/time.ts";
import { moduleIn } from "./places.ts";

export { expectSpeeds, type Speeds, timeOf, TYPICAL } from "../compile/time.ts";

/** The predicted time of a step, in seconds. */
export interface StepTime {
  /** The time of each module. */
  readonly modules: readonly number[];
  /** The time of the rest: reading the batch, and what comes after the last module. */
  readonly rest: number;
}

/**
 * Predicts the time of a planned training step: each of its steps takes as long as its operations or its memory traffic
 * at these speeds, whichever takes longer (the roofline of Williams, Waterman and Patterson, 2009), and the time to start
 * it.
 */
export function stepTime(plan: Pick<Plan, "steps" | "values">, modules: number, speeds: Speeds): StepTime {
  expectSpeeds("stepTime", speeds);
  const times = new Array<number>(modules).fill(0);
  let rest = 0;
  for (const step of plan.steps) {
    const time = timeOf(plan, step, speeds);
    const module = moduleIn(scopeOf(step));
    if (module === undefined || module >= modules) rest += time;
    else times[module] = at(times, module) + time;
  }
  return { modules: times, rest };
}

/** The predicted time of a whole training step, in seconds. */
export function totalTime({ modules, rest }: StepTime): number {
  return modules.reduce((sum, time) => sum + time, rest);
}

function scopeOf(step: Step): string {
  return step.kind === "op" ? step.instruction.scope : step.scope;
}
