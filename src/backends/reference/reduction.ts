import type { DType } from "../../trace/dtype.ts";
import { binary } from "../../trace/elementwise.ts";
import type { ReduceFn } from "../../trace/ops.ts";

/** The start value of a reduction, and the function that combines it with one more element. */
export function reduction(
  fn: ReduceFn,
  dtype: DType,
): { readonly start: number; readonly fold: (a: number, b: number) => number } {
  if (fn === "sum") return { start: 0, fold: binary("add", dtype) };
  const [least, greatest] = dtype === "f32"
    ? [-Infinity, Infinity]
    : dtype === "i32"
    ? [-(2 ** 31), 2 ** 31 - 1]
    : [0, 2 ** 32 - 1];
  return { start: fn === "max" ? least : greatest, fold: binary(fn, dtype) };
}

/** Tests whether `x` replaces `best` in a search for the first maximum. A NaN is above everything else. */
export function isGreater(x: number, best: number): boolean {
  return x > best || (Number.isNaN(x) && !Number.isNaN(best));
}
