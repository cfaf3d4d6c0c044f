import type { RunInfo } from "../artifacts/observer.ts";
import type { Schedule } from "../optim/schedules.ts";
import { describeWarmup, stepsOf, warmups } from "../optim/warmups.ts";

/** Says that a run ends before its warm-up does. It may be one of several calls of `fit`, so it is not refused. */
export function remarksOn(
  schedule: Schedule,
  epochs: number,
  stepsPerEpoch: number,
): Pick<RunInfo, "remarks"> {
  const warmup = warmups.get(schedule);
  if (warmup === undefined || stepsOf(warmup, stepsPerEpoch) <= epochs * stepsPerEpoch) return {};
  return {
    remarks: [
      `the warm-up of ${describeWarmup(warmup)} is longer than the run of ${
        epochs * stepsPerEpoch
      } steps, in which ` +
      "the learning rate does not reach the schedule's",
    ],
  };
}
