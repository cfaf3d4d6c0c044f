/**
 * Which dtypes ops and element-wise functions are defined on.
 *
 * @module
 */

import type { DType } from "./dtype.ts";
import type { BinaryFn, UnaryFn } from "./ops.ts";

/** Real numbers. */
export const FLOAT = ["f32", "bf16"] as const;
/** What arithmetic is defined on. */
export const NUMBER = ["f32", "bf16", "i32", "u32"] as const;
/** What sums and searches go through: of bf16 they are those of f32, see `Tensor.sum`. */
export const FOLDED = ["f32", "i32", "u32"] as const;
/** Integers. */
export const INTEGER = ["i32", "u32"] as const;
/** All that programs make; u8 they only read. */
export const STORED = ["f32", "bf16", "i32", "u32", "bool"] as const;

/** Which dtypes each unary function is defined on. */
export const unaryDtypes = {
  neg: ["f32", "bf16", "i32"],
  abs: ["f32", "bf16", "i32"],
  sign: ["f32", "bf16", "i32"],
  floor: FLOAT,
  exp: FLOAT,
  log: FLOAT,
  sqrt: FLOAT,
  rsqrt: FLOAT,
  sin: FLOAT,
  cos: FLOAT,
  tanh: FLOAT,
  not: ["bool", "i32", "u32"],
  isFinite: FLOAT,
} as const satisfies { readonly [F in UnaryFn]: readonly DType[] };

/** Which dtypes each binary function is defined on. */
export const binaryDtypes = {
  add: NUMBER,
  sub: NUMBER,
  mul: NUMBER,
  div: NUMBER,
  pow: FLOAT,
  max: NUMBER,
  min: NUMBER,
  rem: NUMBER,
  and: ["bool", "i32", "u32"],
  or: ["bool", "i32", "u32"],
  xor: ["bool", "i32", "u32"],
  shl: INTEGER,
  shr: INTEGER,
} as const satisfies { readonly [F in BinaryFn]: readonly DType[] };

/** The unary functions that `D` has: what a backend's table for it must hold. */
export type UnaryFnOf<D extends DType> = {
  [F in UnaryFn]: D extends (typeof unaryDtypes)[F][number] ? F : never;
}[UnaryFn];

/** The binary functions that `D` has: what a backend's table for it must hold. */
export type BinaryFnOf<D extends DType> = {
  [F in BinaryFn]: D extends (typeof binaryDtypes)[F][number] ? F : never;
}[BinaryFn];
