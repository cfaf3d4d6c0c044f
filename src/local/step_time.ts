import { at } from "../base/at.ts";
import { expectBetween, expectOptions } from "../base/expect.ts";
import type { Plan, Step } from "../compile/plan.ts";
import { workOf } from "../compile/work.ts";
import { moduleIn } from "./places.ts";

/** The speeds of a device, to predict the time of a step. */
export interface Speeds {
  /** Additions, multiplications and other functions of single numbers a second. */
  readonly operations: number;
  /** Bytes a second between the device and its memory. */
  readonly bytes: number;
  /** Seconds that it takes to start a step of a plan; default 0. */
  readonly launch?: number;
}

/**
 * Typical speeds, whose ratio decides which steps wait for the memory: 4 operations a byte, as of one core, where a
 * convolution computes and everything element-wise waits.
 */
export const TYPICAL: Speeds = { operations: 20e9, bytes: 5e9 };

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

/** The predicted time of one step of a plan, in seconds. */
export function timeOf({ values }: Pick<Plan, "values">, step: Step, speeds: Speeds): number {
  const { operations, bytes } = workOf({ steps: [step], values });
  return (speeds.launch ?? 0) + Math.max(operations / speeds.operations, bytes / speeds.bytes);
}

/** Refuses impossible speeds; `who` begins the message. */
export function expectSpeeds(who: string, speeds: Speeds): void {
  expectOptions(`${who}: the speeds`, speeds, { operations: "number", bytes: "number", launch: "number?" });
  expectBetween(`${who}: operations a second`, speeds.operations, Number.MIN_VALUE);
  expectBetween(`${who}: bytes a second`, speeds.bytes, Number.MIN_VALUE);
  expectBetween(`${who}: seconds to start a step`, speeds.launch ?? 0, 0);
}

/** The predicted time of a whole training step, in seconds. */
export function totalTime({ modules, rest }: StepTime): number {
  return modules.reduce((sum, time) => sum + time, rest);
}

function scopeOf(step: Step): string {
  return step.kind === "op" ? step.instruction.scope : step.scope;
}
