import {
  apply,
  asStatement,
  type F32,
  type I32,
  type Int,
  memory,
  simd,
  type Statement,
  type V128,
} from "./expressions.ts";
import { int } from "./scalars.ts";

/** 128 bits without a lane type. */
export const v128 = {
  load: (address: I32, offset: number = 0): V128 => memory("v128", simd(0), [address], offset),
  /** Four 16-bit integers, each extended by zeros to a lane. */
  load16x4U: (address: I32, offset: number = 0): V128 => memory("v128", simd(4), [address], offset),
  /** One word in all four lanes. */
  load32Splat: (address: I32, offset: number = 0): V128 => memory("v128", simd(9), [address], offset),
  /** One word in lane 0, zeros elsewhere. */
  load32Zero: (address: I32, offset: number = 0): V128 => memory("v128", simd(92), [address], offset),
  /** Replaces one lane by a word from memory. */
  load32Lane: (address: I32, vector: V128, lane: number, offset: number = 0): V128 =>
    memory("v128", simd(86), [address, vector], offset, 0, lane),
  store: (address: I32, value: V128, offset: number = 0): Statement =>
    asStatement(memory("v128", simd(11), [address, value], offset)),
  /** Stores one of eight 16-bit lanes. */
  store16Lane: (address: I32, value: V128, lane: number, offset: number = 0): Statement =>
    asStatement(memory("v128", simd(89), [address, value], offset, 0, lane)),
  store32Lane: (address: I32, value: V128, lane: number, offset: number = 0): Statement =>
    asStatement(memory("v128", simd(90), [address, value], offset, 0, lane)),
  store64Lane: (address: I32, value: V128, lane: number, offset: number = 0): Statement =>
    asStatement(memory("v128", simd(91), [address, value], offset, 0, lane)),
  not: (a: V128): V128 => apply("v128", simd(77), [a]),
  and: (a: V128, b: V128): V128 => apply("v128", simd(78), [a, b]),
  /** `a & ~b`. */
  andNot: (a: V128, b: V128): V128 => apply("v128", simd(79), [a, b]),
  or: (a: V128, b: V128): V128 => apply("v128", simd(80), [a, b]),
  xor: (a: V128, b: V128): V128 => apply("v128", simd(81), [a, b]),
  /** Bits of `a` where the mask is set, of `b` elsewhere. */
  bitselect: (a: V128, b: V128, mask: V128): V128 => apply("v128", simd(82), [a, b, mask]),
  anyTrue: (a: V128): I32 => apply("i32", simd(83), [a]),
  /** Bytes of `a` (0–15) and `b` (16–31) picked by 16 indices. */
  shuffle: (a: V128, b: V128, bytes: readonly number[]): V128 => apply("v128", simd(13), [a, b], bytes),
};

const lanes = (bytes: ArrayBuffer): V128 => ({
  type: "v128",
  emit(code) {
    code.append(simd(12));
    code.append(new Uint8Array(bytes));
  },
});

const unary = (opcode: number) => (a: V128): V128 => apply("v128", simd(opcode), [a]);
const binary = (opcode: number) => (a: V128, b: V128): V128 => apply("v128", simd(opcode), [a, b]);
const ternary = (opcode: number) => (a: V128, b: V128, c: V128): V128 =>
  apply("v128", simd(opcode), [a, b, c]);
const shift = (opcode: number) => (a: V128, count: Int): V128 => apply("v128", simd(opcode), [a, int(count)]);

/** Four 32-bit integers. Comparisons give all ones or all zeros. */
export const i32x4 = {
  constant: (...values: number[]): V128 =>
    lanes(new Int32Array(values.length === 1 ? new Array<number>(4).fill(values[0]) : values).buffer),
  splat: (a: Int): V128 => apply("v128", simd(17), [int(a)]),
  lane: (a: V128, lane: number): I32 => apply("i32", simd(27), [a], [lane]),
  withLane: (a: V128, lane: number, value: I32): V128 => apply("v128", simd(28), [a, value], [lane]),
  eq: binary(55),
  ne: binary(56),
  ltS: binary(57),
  ltU: binary(58),
  gtS: binary(59),
  gtU: binary(60),
  leS: binary(61),
  leU: binary(62),
  geS: binary(63),
  geU: binary(64),
  abs: unary(160),
  neg: unary(161),
  shl: shift(171),
  shrS: shift(172),
  shrU: shift(173),
  add: binary(174),
  sub: binary(177),
  mul: binary(181),
  minS: binary(182),
  minU: binary(183),
  maxS: binary(184),
  maxU: binary(185),
  /** The four low bytes as unsigned integers. */
  fromBytesU: (a: V128): V128 => apply("v128", simd(169), [apply("v128", simd(137), [a])]),
  /** The low halves of integers below 2¹⁶: those of `a`, then those of `b`. */
  narrowU: (a: V128, b: V128): V128 => apply("v128", simd(134), [a, b]),
  /** Truncates toward zero and saturates; NaN gives 0. */
  truncS: unary(248),
  truncU: unary(249),
};

/** Four 32-bit floats. Comparisons give all ones or all zeros. */
export const f32x4 = {
  constant: (value: number): V128 => lanes(new Float32Array(4).fill(value).buffer),
  splat: (a: F32): V128 => apply("v128", simd(19), [a]),
  lane: (a: V128, lane: number): F32 => apply("f32", simd(31), [a], [lane]),
  withLane: (a: V128, lane: number, value: F32): V128 => apply("v128", simd(32), [a, value], [lane]),
  eq: binary(65),
  ne: binary(66),
  lt: binary(67),
  gt: binary(68),
  le: binary(69),
  ge: binary(70),
  ceil: unary(103),
  floor: unary(104),
  trunc: unary(105),
  nearest: unary(106),
  abs: unary(224),
  neg: unary(225),
  sqrt: unary(227),
  add: binary(228),
  sub: binary(229),
  mul: binary(230),
  div: binary(231),
  min: binary(232),
  max: binary(233),
  /** `b < a ? b : a`: one instruction where {@link f32x4.min} takes several. */
  pmin: binary(234),
  pmax: binary(235),
  fromI32: unary(250),
  fromU32: unary(251),
  /** `a · b + c`, rounded once where the machine has fused multiply-add. */
  madd: ternary(0x105),
  /** `c − a · b`, rounded likewise. */
  nmadd: ternary(0x106),
};
