import type { Schedule } from "./schedules.ts";

/** The length of a warm-up, in epochs or in steps. */
export type Warmup = { readonly epochs: number } | { readonly steps: number };

/** The warm-ups of schedules that begin with one, so that a run can tell that it is shorter. */
export const warmups: WeakMap<Schedule, Warmup> = new WeakMap();

/** The steps of a warm-up where an epoch has `stepsPerEpoch`. */
export function stepsOf(warmup: Warmup, stepsPerEpoch: number): number {
  return "steps" in warmup ? warmup.steps : warmup.epochs * stepsPerEpoch;
}

/** A warm-up for people: `5 epochs`. */
export function describeWarmup(warmup: Warmup): string {
  const [count, unit] = "steps" in warmup ? [warmup.steps, "step"] : [warmup.epochs, "epoch"];
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}
