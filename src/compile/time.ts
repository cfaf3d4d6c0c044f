import { expectBetween, expectOptions } from "../base/expect.ts";
import type { Plan, Step } from "./plan.ts";
import { workOf } from "./work.ts";

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

/** The predicted time of one step of a plan, in seconds. */
export function timeOf({ values }: Pick<Plan, "values">, step: Step, speeds: Speeds): number {
  const { operations, bytes } = workOf({ steps: [step], values });
  return (speeds.launch ?? 0) + Math.max(operations / speeds.operations, bytes / speeds.bytes);
}

/** The predicted time of all steps of a plan, in seconds. */
export function planTime(plan: Pick<Plan, "steps" | "values">, speeds: Speeds): number {
  return plan.steps.reduce((sum, step) => sum + timeOf(plan, step, speeds), 0);
}

/** Refuses impossible speeds; `who` begins the message. */
export function expectSpeeds(who: string, speeds: Speeds): void {
  expectOptions(`${who}: the speeds`, speeds, { operations: "number", bytes: "number", launch: "number?" });
  expectBetween(`${who}: operations a second`, speeds.operations, Number.MIN_VALUE);
  expectBetween(`${who}: bytes a second`, speeds.bytes, Number.MIN_VALUE);
  expectBetween(`${who}: seconds to start a step`, speeds.launch ?? 0, 0);
}
