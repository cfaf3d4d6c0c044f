/**
 * The dtypes that ops and element-wise functions are defined on.
 *
 * @module
 */

import type { DType } from "./dtype.ts";
import type { BinaryFn, UnaryFn } from "./ops.ts";

/** Floating point. */
export const FLOAT = ["f32", "bf16"] as const;
/** Dtypes of arithmetic. */
const NUMBER = ["f32", "bf16", "i32", "u32"] as const;
/** Dtypes of reductions; bf16 is reduced in f32, see `Tensor.sum`. */
export const FOLDED = ["f32", "i32", "u32"] as const;
/** Integers. */
export const INTEGER = ["i32", "u32"] as const;
/** Dtypes that programs produce; u8 they only read. */
export const STORED = ["f32", "bf16", "i32", "u32", "bool"] as const;

/** The dtypes of each unary function. */
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
  erf: FLOAT,
  not: ["bool", "i32", "u32"],
  isFinite: FLOAT,
} as const satisfies { readonly [F in UnaryFn]: readonly DType[] };

/** The dtypes of each binary function. */
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

/** The unary functions of a dtype: the keys that a backend's table for it must have. */
export type UnaryFnOf<D extends DType> = {
  [F in UnaryFn]: D extends (typeof unaryDtypes)[F][number] ? F : never;
}[UnaryFn];

/** The binary functions of a dtype: the keys that a backend's table for it must have. */
export type BinaryFnOf<D extends DType> = {
  [F in BinaryFn]: D extends (typeof binaryDtypes)[F][number] ? F : never;
}[BinaryFn];
