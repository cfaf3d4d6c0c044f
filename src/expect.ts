import { LocalgradError } from "./errors.ts";
import type { DType } from "./trace/dtype.ts";

/** Whether a number is whole and lies from `least` to `most`. */
export function isWhole(value: number, least: number = -Infinity, most: number = Infinity): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

/** Refuses what is no whole number from `least` to `most`; `what` begins the message. */
export function expectWhole(what: string, value: number, least = 1, most = Infinity): void {
  if (isWhole(value, least, most)) return;
  const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new LocalgradError(`${what} must be a whole number ${range}, not ${value}`);
}

/** Refuses a number outside of `[low, high)`; `what` begins the message. */
export function expectBetween(what: string, value: number, low: number, high: number = Infinity): void {
  if (value >= low && value < high) return;
  const range = high === Infinity ? `at least ${low}` : `at least ${low} and below ${high}`;
  throw new LocalgradError(`${what} must be ${range}, not ${value}`);
}

/** The least and the greatest element of the dtypes of whole numbers. */
const ranges: { readonly [D in DType]?: readonly [number, number] } = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  bool: [0, 1],
  u8: [0, 255],
};

/** What is wrong with a number as an element of a dtype: it is a fraction, or out of range. Undefined where nothing is. */
export function notAnElement(value: number, dtype: DType): string | undefined {
  const range = ranges[dtype];
  if (range === undefined || isWhole(value, ...range)) return undefined;
  return `${value} is no ${dtype}, which is a whole number from ${range[0]} to ${range[1]}`;
}
