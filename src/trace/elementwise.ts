/**
 * The element-wise functions on JavaScript numbers, for the reference backend and for constant folding. An f32 element
 * is a float64 that is not rounded, a bf16 element a float64 of exactly its value, and any other an exact integer.
 *
 * @module
 */

import { roundBf16 } from "./bf16.ts";
import { type DType, isFloat } from "./dtype.ts";
import type { BinaryFn, CompareFn, UnaryFn } from "./ops.ts";

/** Converts a result to its dtype: rounds to bf16, wraps integers as in two's complement, makes bool 0 or 1. */
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
  erf,
  not: (x) => ~x,
  isFinite: (x) => Number.isFinite(x) ? 1 : 0,
};

/**
 * The error function by its series of positive terms, 2 / √π · e^−x² · Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1)) (DLMF 7.6.2), in which
 * nothing cancels.
 */
function erf(x: number): number {
  if (Math.abs(x) >= 6) return Math.sign(x); // to within 2e-17
  let [term, sum] = [x, x];
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= 2 * x * x / (2 * n + 1);
    sum += term;
  }
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}

/** The power as in C and PyTorch: 1 to any power is 1, and so is −1 to an infinite power, which JavaScript makes NaN. */
function power(base: number, exponent: number): number {
  if (base === 1 || (base === -1 && Math.abs(exponent) === Infinity)) return 1;
  return base ** exponent;
}

const binaryFns: { readonly [F in BinaryFn]: (a: number, b: number) => number } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: power,
  max: Math.max,
  min: Math.min,
  rem: (a, b) => a % b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr: (a, b) => a >> b,
};

/** Functions that integers compute otherwise: products do not round as in float64, and division by 0 is defined. */
const integerFns: { readonly [F in BinaryFn]?: (a: number, b: number) => number } = {
  mul: Math.imul,
  div: (a, b) => b === 0 ? a : Math.trunc(a / b),
  rem: (a, b) => b === 0 ? 0 : a % b,
};

/** A unary function on elements of a dtype. */
export function unary(fn: UnaryFn, dtype: DType): (x: number) => number {
  if (fn === "not" && dtype === "bool") return (x) => 1 - x;
  const f = unaryFns[fn];
  return dtype === "f32" ? f : (x) => wrap(f(x), dtype);
}

/** A binary function on elements of a dtype. */
export function binary(fn: BinaryFn, dtype: DType): (a: number, b: number) => number {
  if (fn === "shr" && dtype === "u32") return (a, b) => a >>> b;
  const f = (isFloat(dtype) ? undefined : integerFns[fn]) ?? binaryFns[fn];
  return dtype === "f32" ? f : (a, b) => wrap(f(a, b), dtype);
}

/** The conversion between two dtypes. A float saturates at the ends of an integer's range, and NaN becomes 0. */
export function cast(from: DType, to: DType): (x: number) => number {
  if (isFloat(from) && to === "i32") {
    return (x) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x))) | 0;
  }
  if (isFloat(from) && to === "u32") return (x) => Math.max(0, Math.min(2 ** 32 - 1, Math.trunc(x))) >>> 0;
  return (x) => wrap(x, to);
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
