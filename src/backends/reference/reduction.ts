import type { DType } from "../../trace/dtype.ts";
import { binary } from "../../trace/elementwise.ts";
import type { ReduceFn } from "../../trace/ops.ts";

/** What a reduction starts from and how it takes in one more element. */
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

/** Whether a search for the first maximum that stands at `best` moves on to `x`. A NaN is above all else. */
export function isGreater(x: number, best: number): boolean {
  return x > best || (Number.isNaN(x) && !Number.isNaN(best));
}
