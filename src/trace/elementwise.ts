/**
 * What the element-wise functions are, on JavaScript numbers: what the reference computes, and the compiler on constants.
 * A number is a float64 for f32, which is not rounded; what bf16 has exactly; and an exact integer for the others.
 *
 * @module
 */

import { roundBf16 } from "./bf16.ts";
import type { DType } from "./dtype.ts";
import type { BinaryFn, CompareFn, UnaryFn } from "./ops.ts";

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

/** The unary functions, before their result is brought into the dtype. */
export const unaryFns: { readonly [F in UnaryFn]: (x: number) => number } = {
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

/** The binary functions, before their result is brought into the dtype. */
export const binaryFns: { readonly [F in BinaryFn]: (a: number, b: number) => number } = {
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

/** The comparisons. */
export const compareFns: { readonly [F in CompareFn]: (a: number, b: number) => boolean } = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};
