import { type DType, isFloat } from "../trace/dtype.ts";
import { binaryFns, compareFns, unaryFns, wrap } from "../trace/elementwise.ts";
import type { BinaryFn, CompareFn, UnaryFn } from "../trace/ops.ts";

// Element-wise functions on literals. Floats stay in float64 until a device takes them and rounds once; the float64
// reference then sees no rounding at all.

/** `fn(x)` where x is of `dtype`. */
export function foldUnary(fn: UnaryFn, x: number, dtype: DType): number {
  if (fn === "isFinite") return unaryFns.isFinite(x);
  if (fn === "not" && dtype === "bool") return 1 - x;
  return wrap(unaryFns[fn](wrap(x, dtype)), dtype);
}

/** `fn(a, b)`, or undefined where devices differ: an integer divided by 0, a shift beyond the word. */
export function foldBinary(fn: BinaryFn, a: number, b: number, dtype: DType): number | undefined {
  if (!isFloat(dtype)) {
    if ((fn === "div" || fn === "rem") && b === 0) return undefined;
    if ((fn === "shl" || fn === "shr") && (b < 0 || b > 31)) return undefined;
    if (fn === "mul") return wrap(Math.imul(a, b), dtype);
    if (fn === "div") return wrap(Math.trunc(a / b), dtype);
    if (fn === "shr" && dtype === "u32") return a >>> b;
  }
  return wrap(binaryFns[fn](wrap(a, dtype), wrap(b, dtype)), dtype);
}

/** `x fn y`, both of `dtype`. */
export function foldCompare(fn: CompareFn, x: number, y: number, dtype: DType): boolean {
  return compareFns[fn](wrap(x, dtype), wrap(y, dtype));
}

/** Conversion, or undefined where devices differ: a float outside an integer's range. */
export function foldCast(value: number, from: DType, to: DType): number | undefined {
  const x = wrap(value, from);
  if (!isFloat(from) || isFloat(to) || to === "bool") return wrap(x, to);
  const whole = Math.trunc(x);
  return whole === wrap(whole, to) ? whole : undefined;
}
