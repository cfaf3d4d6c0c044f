import { roundBf16 } from "../../trace/bf16.ts";
import { type DType, isFloat } from "../../trace/dtype.ts";
import type { BinaryFn, CompareFn, ReduceFn, UnaryFn } from "../../trace/ops.ts";

// Every element is a JavaScript number: float64 for f32, what bf16 has exactly, and an exact integer for the others.

/** Brings a number into a dtype: bf16 is rounded to, integers wrap as in two's complement, bool is 0 or 1. */
export function wrap(value: number, dtype: DType): number {
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

/** A unary function over one dtype. */
export function unary(fn: UnaryFn, dtype: DType): (x: number) => number {
  if (fn === "not" && dtype === "bool") return (x) => 1 - x;
  const f = unaryFns[fn];
  return dtype === "f32" ? f : (x) => wrap(f(x), dtype);
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

/** The comparisons. */
export const compareFns: { readonly [F in CompareFn]: (a: number, b: number) => boolean } = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};

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
