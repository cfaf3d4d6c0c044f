import type { DType } from "../trace/dtype.ts";
import type { BinaryFn, CompareFn, UnaryFn } from "../trace/ops.ts";

// Element-wise functions on literals. Floats stay in float64 until a device takes them and rounds once; the float64
// reference then sees no rounding at all.

/** Brings a number into a dtype's range: integers wrap as two's complement, bool is 0 or 1. */
export function toDType(value: number, dtype: DType): number {
  switch (dtype) {
    case "f32":
      return value;
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
  return toDType(unaryFns[fn](x), dtype);
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
  if (dtype !== "f32") {
    if ((fn === "div" || fn === "rem") && b === 0) return undefined;
    if ((fn === "shl" || fn === "shr") && (b < 0 || b > 31)) return undefined;
    if (fn === "mul") return toDType(Math.imul(a, b), dtype);
    if (fn === "div") return toDType(Math.trunc(a / b), dtype);
    if (fn === "shr" && dtype === "u32") return a >>> b;
  }
  return toDType(binaryFns[fn](a, b), dtype);
}

/** `a fn b`. */
export function foldCompare(fn: CompareFn, a: number, b: number): boolean {
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

/** Conversion, or undefined where devices differ: f32 outside an integer's range. */
export function foldCast(x: number, from: DType, to: DType): number | undefined {
  if (from !== "f32" || to === "f32" || to === "bool") return toDType(x, to);
  const whole = Math.trunc(x);
  return whole === toDType(whole, to) ? whole : undefined;
}
