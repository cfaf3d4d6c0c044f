import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectKind, expectOptions, shown } from "../base/expect.ts";
import type { Curve, Schedule, StepPosition } from "./schedules.ts";
import { type Warmup, warmups } from "./warmups.ts";

/**
 * Follows a curve over epochs with every step: step s of an epoch of n is at time epoch + s / n.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const schedule = optim.everyStep(optim.cosine({ base: 0.2, length: 10 })); // over 10 epochs
 * assertEquals(schedule(5, { step: 500, stepsPerEpoch: 100 }), 0.1);
 * ```
 */
export function everyStep(curve: Curve): Schedule {
  expectKind("everyStep: the curve", curve, "function");
  return (epoch, position) => curve(epochsAt(epoch, position));
}

/**
 * Follows a curve whose time is counted in steps.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const schedule = optim.inSteps(optim.steps({ base: 1, at: [1000], factor: 0.5 }));
 * assertEquals([999, 1000].map((step) => schedule(0, { step, stepsPerEpoch: 2000 })), [1, 0.5]);
 * ```
 */
export function inSteps(curve: Curve): Schedule {
  expectKind("inSteps: the curve", curve, "function");
  return (_epoch, { step }) => curve(step);
}

/**
 * Begins a schedule with a warm-up: with every step the rate rises linearly from `start` times the schedule's to the
 * schedule's own.
 *
 * @param start The share of the schedule's rate in the first step; default 0.01.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const schedule = optim.warmup(optim.constant(1), { steps: 100 }, 0);
 * assertEquals([0, 50, 100, 500].map((step) => schedule(0, { step, stepsPerEpoch: 10 })), [0, 0.5, 1, 1]);
 * ```
 */
export function warmup(schedule: Schedule, length: Warmup, start: number = 0.01): Schedule {
  expectKind("warmup: the schedule", schedule, "function");
  expectBetween("warmup: start", start, 0, 1);
  expectOptions("warmup: the length", length, { epochs: "number?", steps: "number?" } as never);
  const [unit, total] = Object.entries(length)[0] ?? [];
  if (total === undefined || Object.keys(length).length > 1) {
    throw new LocalgradError(`warmup: give the length in epochs or in steps, not ${shown(length)}`);
  }
  expectBetween("warmup: the length", total, 0);
  const warmed: Schedule = (epoch, position) => {
    const time = unit === "steps" ? position.step : epochsAt(epoch, position);
    const rate = schedule(epoch, position);
    return time >= total ? rate : rate * (start + (1 - start) * time / total);
  };
  warmups.set(warmed, length);
  return warmed;
}

/** Options of {@link cosine}. */
export interface CosineOptions {
  /** The rate at the start. */
  base: number;
  /** The time at which the minimum is reached; it is kept from there on. */
  length: number;
  /** The rate at the end; default 0. */
  minimum?: number;
}

/**
 * Half a cosine from `base` to `minimum` over `length`, as in `torch.optim.lr_scheduler.CosineAnnealingLR`; then the
 * minimum.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const curve = optim.cosine({ base: 0.2, length: 10, minimum: 0.1 });
 * assertEquals([curve(0), curve(10), curve(99)], [0.2, 0.1, 0.1]);
 * ```
 */
export function cosine(options: CosineOptions): Curve {
  expectOptions("cosine", options, { base: "number", length: "number", minimum: "number?" });
  const { base, length, minimum = 0 } = options;
  expectBetween("cosine: the base rate", base, 0);
  expectBetween("cosine: the minimum", minimum, 0);
  expectLength("cosine: the length", length);
  return (time) => between(base, minimum, time / length);
}

/** Options of {@link cosineRestarts}. */
export interface CosineRestartsOptions {
  /** The rate at the start of each cycle. */
  base: number;
  /** The length of the first cycle. */
  first: number;
  /** The factor by which each cycle is longer than the one before, at least 1; default 1. */
  factor?: number;
  /** The rate at the end of each cycle; default 0. */
  minimum?: number;
}

/**
 * Cosines with warm restarts (Loshchilov and Hutter, 2017, arXiv 1608.03983), as in
 * `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`: each cycle falls from `base` to `minimum`, and another follows
 * without end.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const curve = optim.cosineRestarts({ base: 1, first: 10, factor: 2 }); // restarts at 10, 30, 70, …
 * [1, 0.5, 1, 0.5, 1].forEach((rate, i) => assertAlmostEquals(curve([0, 5, 10, 20, 30][i]), rate, 1e-12));
 * ```
 */
export function cosineRestarts(options: CosineRestartsOptions): Curve {
  expectOptions("cosineRestarts", options, {
    base: "number",
    first: "number",
    factor: "number?",
    minimum: "number?",
  });
  const { base, first, factor = 1, minimum = 0 } = options;
  expectBetween("cosineRestarts: the base rate", base, 0);
  expectBetween("cosineRestarts: the minimum", minimum, 0);
  expectBetween("cosineRestarts: the factor", factor, 1);
  expectLength("cosineRestarts: the first cycle", first);
  return (time) => {
    if (factor === 1) return between(base, minimum, time % first / first);
    let [start, length] = [0, first];
    while (time >= start + length) [start, length] = [start + length, length * factor];
    return between(base, minimum, (time - start) / length);
  };
}

/** Options of {@link oneCycle}. */
export interface OneCycleOptions {
  /** The highest rate. */
  peak: number;
  /** The time at which the last rate is reached; it is kept from there on. */
  length: number;
  /** The share of the length in which the rate rises; default 0.3. */
  rise?: number;
  /** The peak divided by the first rate; default 25. */
  divide?: number;
  /** The first rate divided by the last; default 10 000. */
  finalDivide?: number;
}

/**
 * One cycle (Smith and Topin, 2018, arXiv 1708.07120): half a cosine up to `peak`, then half a cosine down to almost 0,
 * with the defaults of `torch.optim.lr_scheduler.OneCycleLR`. The last rate is reached at `length`, where PyTorch counts
 * the last step as `total_steps` − 1.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const schedule = optim.inSteps(optim.oneCycle({ peak: 1, length: 1000 }));
 * const rate = (step: number) => schedule(0, { step, stepsPerEpoch: 100 });
 * [1 / 25, 1, 4e-6, 4e-6].forEach((at, i) => assertAlmostEquals(rate([0, 300, 1000, 9000][i]), at, 1e-12));
 * ```
 */
export function oneCycle(options: OneCycleOptions): Curve {
  expectOptions("oneCycle", options, {
    peak: "number",
    length: "number",
    rise: "number?",
    divide: "number?",
    finalDivide: "number?",
  });
  const { peak, length, rise = 0.3, divide = 25, finalDivide = 1e4 } = options;
  expectBetween("oneCycle: the peak", peak, 0);
  expectLength("oneCycle: the length", length);
  expectBetween("oneCycle: rise", rise, 0, 1);
  expectBetween("oneCycle: divide", divide, 1);
  expectBetween("oneCycle: finalDivide", finalDivide, 1);
  const [first, top] = [peak / divide, rise * length];
  return (time) =>
    time < top
      ? between(first, peak, time / top)
      : between(peak, first / finalDivide, (time - top) / (length - top));
}

/** Half a cosine from `a` at 0 to `b` at 1 and after. */
function between(a: number, b: number, time: number): number {
  return time >= 1 ? b : b + (a - b) * (1 + Math.cos(Math.PI * time)) / 2;
}

/** Epochs since the start of a run; whole ones where the length of an epoch is unknown. */
function epochsAt(epoch: number, { step, stepsPerEpoch }: StepPosition): number {
  return Number.isFinite(stepsPerEpoch) ? step / stepsPerEpoch : epoch;
}

function expectLength(what: string, length: number): void {
  if (length > 0 && length < Infinity) return;
  throw new LocalgradError(`${what} must be a number above 0, not ${shown(length)}`);
}
