import { LocalgradError } from "./errors.ts";

/** Refuses what is no whole number of at least `least`; `what` begins the message. */
export function expectWhole(what: string, value: number, least = 1): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new LocalgradError(`${what} must be a whole number of at least ${least}, not ${value}`);
}

/** Refuses a number outside of `[low, high)`; `what` begins the message. */
export function expectBetween(what: string, value: number, low: number, high: number = Infinity): void {
  if (value >= low && value < high) return;
  const range = high === Infinity ? `at least ${low}` : `at least ${low} and below ${high}`;
  throw new LocalgradError(`${what} must be ${range}, not ${value}`);
}
