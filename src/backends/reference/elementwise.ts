import { roundBf16 } from "../../trace/bf16.ts";
import { type DType, isFloat } from "../../trace/dtype.ts";
import { binaryFns, unaryFns, wrap } from "../../trace/elementwise.ts";
import type { BinaryFn, ReduceFn, UnaryFn } from "../../trace/ops.ts";

/** A unary function over one dtype. */
export function unary(fn: UnaryFn, dtype: DType): (x: number) => number {
  if (fn === "not" && dtype === "bool") return (x) => 1 - x;
  const f = unaryFns[fn];
  return dtype === "f32" ? f : (x) => wrap(f(x), dtype);
}

/** A binary function over one dtype. */
export function binary(fn: BinaryFn, dtype: DType): (a: number, b: number) => number {
  if (dtype === "f32") return binaryFns[fn];
  const f = binaryFns[fn];
  if (dtype === "bf16") return (a, b) => roundBf16(f(a, b));
  // Exact where a float64 product would round, and logical rather than arithmetic.
  if (fn === "mul") return (a, b) => wrap(Math.imul(a, b), dtype);
  if (fn === "shr" && dtype === "u32") return (a, b) => a >>> b;
  return (a, b) => wrap(f(a, b), dtype); // a quotient is truncated by wrapping
}

/** Conversion between dtypes; a float out of an integer's range gives its nearest end, and NaN gives 0. */
export function cast(from: DType, to: DType): (x: number) => number {
  if (to === "bool" || !isFloat(from)) return (x) => wrap(x, to);
  if (to === "i32") return (x) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x))) | 0;
  if (to === "u32") return (x) => Math.max(0, Math.min(2 ** 32 - 1, Math.trunc(x))) >>> 0;
  return (x) => wrap(x, to);
}

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
