import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions, expectWhole } from "../base/expect.ts";

/** The place of a step in a run. */
export interface StepPosition {
  /** The step's number in the run, from 0. */
  readonly step: number;
  /** Steps per epoch; infinite outside of a run, as in `Trainer.step`. */
  readonly stepsPerEpoch: number;
}

/** Returns the learning rate of a step; it is asked before each one. `epoch` counts from 0. */
export type Schedule = (epoch: number, position: StepPosition) => number;

/**
 * A rate over time, which is defined at every time from 0 on. As a {@link Schedule} it counts epochs and changes between
 * them; {@link everyStep} and {@link inSteps} make it change with every step.
 */
export type Curve = (time: number) => number;

/** The same rate throughout. */
export function constant(rate: number): Curve {
  expectBetween("constant: the learning rate", rate, 0);
  return () => rate;
}

/** Options of {@link steps}. */
export interface StepsOptions {
  /** The rate of the first epoch. */
  base: number;
  /** Epochs at the start of which the rate is multiplied by `factor`. */
  at: readonly number[];
  /** The factor; default 0.1. */
  factor?: number;
}

/**
 * A rate that is multiplied by a factor at given epochs.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const schedule = optim.steps({ base: 0.1, at: [80, 120] });
 * assertAlmostEquals(schedule(100), 0.01, 1e-12);
 * ```
 */
export function steps(options: StepsOptions): Curve {
  expectOptions("steps", options, { base: "number", at: "array", factor: "number?" });
  const { base, at, factor = 0.1 } = options;
  expectBetween("steps: the base rate", base, 0);
  expectBetween("steps: the factor", factor, 0);
  return (epoch) => base * factor ** at.filter((boundary) => epoch >= boundary).length;
}

/** Options of {@link warmupCosine}. */
export interface WarmupCosineOptions {
  /** The rate at which the cosine starts. */
  base: number;
  /** Epochs of warm-up; default 10. */
  warmup?: number;
  /** Total epochs; the last has rate 0. */
  epochs: number;
  /** The rate of the first epoch if there is a warm-up; default 0.01. */
  start?: number;
}

/**
 * Half a cosine from `base` to exactly 0 in the last epoch, blended in from `start` over the first `warmup` epochs, as
 * in the published CIFAR runs of InfoPro and MAN. With e counted from 1 and c(e) = base·(1 + cos(πe/epochs))/2, the rate
 * is c(e)·(e − 1)/warmup + start·(warmup + 1 − e)/warmup up to e = warmup and c(e) afterwards.
 *
 * @throws {LocalgradError} if a rate is negative, or the warm-up is longer than `epochs`.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const schedule = optim.warmupCosine({ base: 0.8, warmup: 10, epochs: 400 });
 * assertEquals([schedule(0), schedule(399)], [0.01, 0]);
 * ```
 */
export function warmupCosine(options: WarmupCosineOptions): Curve {
  expectOptions("warmupCosine", options, {
    base: "number",
    warmup: "number?",
    epochs: "number",
    start: "number?",
  });
  const { base, warmup = 10, epochs, start = 0.01 } = options;
  expectBetween("warmupCosine: the base rate", base, 0);
  expectBetween("warmupCosine: the starting rate", start, 0);
  expectWhole("warmupCosine: warmup", warmup, 0);
  expectWhole("warmupCosine: epochs", epochs);
  if (warmup > epochs) {
    throw new LocalgradError(
      `warmupCosine: the warm-up of ${warmup} epochs${
        options.warmup === undefined ? ", the default," : ""
      } is longer ` +
        `than the ${epochs} of the schedule, which would never reach its base rate; give a shorter one as warmup`,
    );
  }
  return (epoch) => {
    const e = epoch + 1;
    const cosine = e >= epochs ? 0 : base * (1 + Math.cos(Math.PI * e / epochs)) / 2;
    return e > warmup ? cosine : cosine * (e - 1) / warmup + start * (warmup + 1 - e) / warmup;
  };
}
