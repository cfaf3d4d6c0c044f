import { isWhole } from "../base/expect.ts";
import type { DType } from "./dtype.ts";

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
