import { roundBf16 } from "../trace/bf16.ts";
import { type DType, isFloat } from "../trace/dtype.ts";
import type { BinaryFn, CompareFn, UnaryFn } from "../trace/ops.ts";

// Element-wise functions on literals. Floats stay in float64 until a device takes them and rounds once; the float64
// reference then sees no rounding at all.

/** Brings a number into a dtype's range: integers wrap as two's complement, bool is 0 or 1. */
export function toDType(value: number, dtype: DType): number {
  switch (dtype) {
    case "f32":
      return value;
    case "bf16":
      return roundBf16(value);
    case "i32":
      return value | 0;
    case "u32":
      return value >>> 0;
    case "bool":
      return value !== 0 ? 1 : 0;
    case "u8":
      return value & 0xff;
  }
}

const unaryFns: { readonly [F in UnaryFn]: (x: number) => number } = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  not: (x) => ~x,
  isFinite: (x) => Number.isFinite(x) ? 1 : 0,
};

/** `fn(x)` where x is of `dtype`. */
export function foldUnary(fn: UnaryFn, x: number, dtype: DType): number {
  if (fn === "isFinite") return unaryFns.isFinite(x);
  if (fn === "not" && dtype === "bool") return 1 - x;
  return toDType(unaryFns[fn](toDType(x, dtype)), dtype);
}

const binaryFns: { readonly [F in BinaryFn]: (a: number, b: number) => number } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: Math.pow,
  max: Math.max,
  min: Math.min,
  rem: (a, b) => a % b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr: (a, b) => a >> b,
};

/** `fn(a, b)`, or undefined where devices differ: an integer divided by 0, a shift beyond the word. */
export function foldBinary(fn: BinaryFn, a: number, b: number, dtype: DType): number | undefined {
  if (!isFloat(dtype)) {
    if ((fn === "div" || fn === "rem") && b === 0) return undefined;
    if ((fn === "shl" || fn === "shr") && (b < 0 || b > 31)) return undefined;
    if (fn === "mul") return toDType(Math.imul(a, b), dtype);
    if (fn === "div") return toDType(Math.trunc(a / b), dtype);
    if (fn === "shr" && dtype === "u32") return a >>> b;
  }
  return toDType(binaryFns[fn](toDType(a, dtype), toDType(b, dtype)), dtype);
}

/** `x fn y`, both of `dtype`. */
export function foldCompare(fn: CompareFn, x: number, y: number, dtype: DType): boolean {
  const [a, b] = [toDType(x, dtype), toDType(y, dtype)];
  switch (fn) {
    case "eq":
      return a === b;
    case "ne":
      return a !== b;
    case "lt":
      return a < b;
    case "le":
      return a <= b;
    case "gt":
      return a > b;
    case "ge":
      return a >= b;
  }
}

/** Conversion, or undefined where devices differ: a float outside an integer's range. */
export function foldCast(value: number, from: DType, to: DType): number | undefined {
  const x = toDType(value, from);
  if (!isFloat(from) || isFloat(to) || to === "bool") return toDType(x, to);
  const whole = Math.trunc(x);
  return whole === toDType(whole, to) ? whole : undefined;
}
