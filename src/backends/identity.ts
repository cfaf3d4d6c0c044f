import type { DType } from "../trace/dtype.ts";
import type { ReduceFn } from "../trace/ops.ts";

/** The identity element of a reduction: the value that its accumulator starts from. */
export function identityOf(fn: ReduceFn, dtype: DType): number {
  if (fn === "sum") return 0;
  const [least, greatest] = dtype === "f32"
    ? [-Infinity, Infinity]
    : dtype === "i32"
    ? [-(2 ** 31), 2 ** 31 - 1]
    : [0, 2 ** 32 - 1];
  return fn === "max" ? least : greatest;
}
