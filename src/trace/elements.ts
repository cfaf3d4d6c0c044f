import { isWhole } from "../base/expect.ts";
import type { DType } from "./dtype.ts";

/** The least and the greatest element of each integer dtype. */
const ranges: { readonly [D in DType]?: readonly [number, number] } = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  bool: [0, 1],
  u8: [0, 255],
};

/** Explains why a number cannot be an element of a dtype: it is a fraction or out of range. Undefined if it can be. */
export function notAnElement(value: number, dtype: DType): string | undefined {
  const range = ranges[dtype];
  if (range === undefined || isWhole(value, ...range)) return undefined;
  return `${value} does not fit ${dtype}, whole numbers from ${range[0]} to ${range[1]}`;
}
