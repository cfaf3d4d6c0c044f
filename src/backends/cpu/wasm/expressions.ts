import type { Bytes } from "./bytes.ts";

/** The machine's value types. */
export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

/** Encodings of the value types. */
export const valueTypeCode: { readonly [T in ValueType]: number } = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** Code that leaves one value of type `T` on the stack. It may be emitted any number of times. */
export interface Expr<T extends ValueType> {
  /** Type of the value. */
  readonly type: T;
  /** Appends the code. */
  emit(code: Bytes): void;
  /** The value, where it is a known i32; sums and products of those are folded. */
  readonly known?: number;
}

/** Code that leaves nothing on the stack. */
export interface Statement {
  /** Appends the code. */
  emit(code: Bytes): void;
}

export type I32 = Expr<"i32">;
export type I64 = Expr<"i64">;
export type F32 = Expr<"f32">;
export type F64 = Expr<"f64">;
export type V128 = Expr<"v128">;

/** An i32 operand: an expression or a literal. */
export type Int = I32 | number;

type Opcode = readonly number[];

const scalar = (opcode: number): Opcode => [opcode];
/** SIMD opcodes follow the prefix 0xFD as LEB128 numbers, which take a second byte from 0x80 on. */
const simd = (opcode: number): Opcode =>
  opcode < 0x80 ? [0xfd, opcode] : [0xfd, (opcode & 0x7f) | 0x80, opcode >> 7];
const atomic = (opcode: number): Opcode => [0xfe, opcode];

function literal(value: number): I32 {
  return {
    type: "i32",
    known: value | 0,
    emit(code) {
      code.byte(0x41);
      code.signed(value | 0);
    },
  };
}

/** An i32 operand as an expression. */
export function int(value: Int): I32 {
  return typeof value === "number" ? literal(value) : value;
}

function apply<T extends ValueType>(
  type: T,
  opcode: Opcode,
  operands: readonly Expr<ValueType>[],
  immediates: readonly number[] = [],
): Expr<T> {
  return {
    type,
    emit(code) {
      for (const operand of operands) operand.emit(code);
      code.append(opcode);
      code.append(immediates);
    },
  };
}

/**
 * Memory operands are declared unaligned (alignment exponent 0 is always allowed) save for atomics, which demand their
 * natural alignment.
 */
function memory<T extends ValueType>(
  type: T,
  opcode: Opcode,
  operands: readonly Expr<ValueType>[],
  offset: number,
  align: number = 0,
  lane?: number,
): Expr<T> {
  return {
    type,
    emit(code) {
      for (const operand of operands) operand.emit(code);
      code.append(opcode);
      code.unsigned(align);
      code.unsigned(offset);
      if (lane !== undefined) code.byte(lane);
    },
  };
}

const asStatement = (expression: Expr<ValueType>): Statement => ({ emit: (code) => expression.emit(code) });

/** A folding i32 operator. */
function integer(opcode: number, fold: (a: number, b: number) => number, neutral?: number) {
  return (a: Int, b: Int): I32 => {
    const [x, y] = [int(a), int(b)];
    if (x.known !== undefined && y.known !== undefined) return literal(fold(x.known, y.known));
    if (neutral !== undefined && y.known === neutral) return x;
    return apply("i32", scalar(opcode), [x, y]);
  };
}

const add = integer(0x6a, (a, b) => a + b, 0);
const mul = integer(0x6c, Math.imul, 1);

/** 32-bit integers; also addresses and conditions. */
export const i32 = {
  add: (a: Int, b: Int): I32 => int(a).known === 0 ? int(b) : add(a, b),
  sub: integer(0x6b, (a, b) => a - b, 0),
  mul: (a: Int, b: Int): I32 => int(a).known === 1 ? int(b) : mul(a, b),
  divS: integer(0x6d, (a, b) => a / b, 1),
  divU: integer(0x6e, (a, b) => (a >>> 0) / (b >>> 0), 1),
  remS: integer(0x6f, (a, b) => a % b),
  remU: integer(0x70, (a, b) => (a >>> 0) % (b >>> 0)),
  and: integer(0x71, (a, b) => a & b, -1),
  or: integer(0x72, (a, b) => a | b, 0),
  xor: integer(0x73, (a, b) => a ^ b, 0),
  shl: integer(0x74, (a, b) => a << b, 0),
  shrS: integer(0x75, (a, b) => a >> b, 0),
  shrU: integer(0x76, (a, b) => a >>> b, 0),
  eqz: (a: Int): I32 => apply("i32", scalar(0x45), [int(a)]),
  eq: integer(0x46, (a, b) => a === b ? 1 : 0),
  ne: integer(0x47, (a, b) => a !== b ? 1 : 0),
  ltS: integer(0x48, (a, b) => a < b ? 1 : 0),
  ltU: integer(0x49, (a, b) => a >>> 0 < b >>> 0 ? 1 : 0),
  gtS: integer(0x4a, (a, b) => a > b ? 1 : 0),
  gtU: integer(0x4b, (a, b) => a >>> 0 > b >>> 0 ? 1 : 0),
  leS: integer(0x4c, (a, b) => a <= b ? 1 : 0),
  geS: integer(0x4e, (a, b) => a >= b ? 1 : 0),
  geU: integer(0x4f, (a, b) => a >>> 0 >= b >>> 0 ? 1 : 0),
  /** `condition ? a : b`, both evaluated. */
  select: (a: Int, b: Int, condition: Int): I32 =>
    apply("i32", scalar(0x1b), [int(a), int(b), int(condition)]),
  min: (a: Int, b: Int): I32 => i32.select(a, b, i32.ltS(a, b)),
  max: (a: Int, b: Int): I32 => i32.select(a, b, i32.gtS(a, b)),
  load: (address: I32, offset: number = 0): I32 => memory("i32", scalar(0x28), [address], offset),
  load8u: (address: I32, offset: number = 0): I32 => memory("i32", scalar(0x2d), [address], offset),
  store: (address: I32, value: Int, offset: number = 0): Statement =>
    asStatement(memory("i32", scalar(0x36), [address, int(value)], offset)),
  /** The bits of a float. */
  ofF32: (a: F32): I32 => apply("i32", scalar(0xbc), [a]),
  /** Low half of an i64. */
  wrap: (a: I64): I32 => apply("i32", scalar(0xa7), [a]),
  atomicLoad: (address: I32, offset: number = 0): I32 => memory("i32", atomic(0x10), [address], offset, 2),
  atomicStore: (address: I32, value: Int, offset: number = 0): Statement =>
    asStatement(memory("i32", atomic(0x17), [address, int(value)], offset, 2)),
  /** Adds and gives the value before. */
  atomicAdd: (address: I32, value: Int, offset: number = 0): I32 =>
    memory("i32", atomic(0x1e), [address, int(value)], offset, 2),
  /** Sleeps while the word equals `expected`, at most `nanoseconds`. */
  atomicWait: (address: I32, expected: Int, nanoseconds: bigint, offset: number = 0): I32 =>
    memory("i32", atomic(0x01), [address, int(expected), i64.constant(nanoseconds)], offset, 2),
  /** Wakes at most `count` sleepers on the word. */
  atomicNotify: (address: I32, count: Int, offset: number = 0): I32 =>
    memory("i32", atomic(0x00), [address, int(count)], offset, 2),
};

/** 64-bit integers: the scheduler's ticket, and the reduction of arguments. */
export const i64 = {
  constant: (value: bigint): I64 => ({
    type: "i64",
    emit(code) {
      code.byte(0x42);
      code.signed64(value);
    },
  }),
  fromI32: (a: Int): I64 => apply("i64", scalar(0xad), [int(a)]),
  add: (a: I64, b: I64): I64 => apply("i64", scalar(0x7c), [a, b]),
  sub: (a: I64, b: I64): I64 => apply("i64", scalar(0x7d), [a, b]),
  mul: (a: I64, b: I64): I64 => apply("i64", scalar(0x7e), [a, b]),
  and: (a: I64, b: I64): I64 => apply("i64", scalar(0x83), [a, b]),
  /** `condition ? a : b`, both evaluated. */
  select: (a: I64, b: I64, condition: I32): I64 => apply("i64", scalar(0x1b), [a, b, condition]),
  /** The bits of a float. */
  bits: (a: F64): I64 => apply("i64", scalar(0xbd), [a]),
  or: (a: I64, b: I64): I64 => apply("i64", scalar(0x84), [a, b]),
  shl: (a: I64, b: I64): I64 => apply("i64", scalar(0x86), [a, b]),
  shrS: (a: I64, b: I64): I64 => apply("i64", scalar(0x87), [a, b]),
  shrU: (a: I64, b: I64): I64 => apply("i64", scalar(0x88), [a, b]),
  atomicLoad: (address: I32, offset: number = 0): I64 => memory("i64", atomic(0x11), [address], offset, 3),
  atomicStore: (address: I32, value: I64, offset: number = 0): Statement =>
    asStatement(memory("i64", atomic(0x18), [address, value], offset, 3)),
  atomicAdd: (address: I32, value: I64, offset: number = 0): I64 =>
    memory("i64", atomic(0x1f), [address, value], offset, 3),
};

/** 32-bit floats, one at a time. */
export const f32 = {
  constant: (value: number): F32 => ({
    type: "f32",
    emit(code) {
      code.byte(0x43);
      code.append(new Uint8Array(new Float32Array([value]).buffer));
    },
  }),
  add: (a: F32, b: F32): F32 => apply("f32", scalar(0x92), [a, b]),
  sub: (a: F32, b: F32): F32 => apply("f32", scalar(0x93), [a, b]),
  mul: (a: F32, b: F32): F32 => apply("f32", scalar(0x94), [a, b]),
  max: (a: F32, b: F32): F32 => apply("f32", scalar(0x97), [a, b]),
  gt: (a: F32, b: F32): I32 => apply("i32", scalar(0x5e), [a, b]),
  eq: (a: F32, b: F32): I32 => apply("i32", scalar(0x5b), [a, b]),
  load: (address: I32, offset: number = 0): F32 => memory("f32", scalar(0x2a), [address], offset),
  store: (address: I32, value: F32, offset: number = 0): Statement =>
    asStatement(memory("f32", scalar(0x38), [address, value], offset)),
  fromI32U: (a: I32): F32 => apply("f32", scalar(0xb3), [a]),
  /** Rounds. */
  fromF64: (a: F64): F32 => apply("f32", scalar(0xb6), [a]),
};

/** 64-bit floats: what must be exact to the last bit of an f32. */
export const f64 = {
  constant: (value: number): F64 => ({
    type: "f64",
    emit(code) {
      code.byte(0x44);
      code.append(new Uint8Array(new Float64Array([value]).buffer));
    },
  }),
  floor: (a: F64): F64 => apply("f64", scalar(0x9c), [a]),
  add: (a: F64, b: F64): F64 => apply("f64", scalar(0xa0), [a, b]),
  sub: (a: F64, b: F64): F64 => apply("f64", scalar(0xa1), [a, b]),
  mul: (a: F64, b: F64): F64 => apply("f64", scalar(0xa2), [a, b]),
  div: (a: F64, b: F64): F64 => apply("f64", scalar(0xa3), [a, b]),
  abs: (a: F64): F64 => apply("f64", scalar(0x99), [a]),
  trunc: (a: F64): F64 => apply("f64", scalar(0x9d), [a]),
  /** `a` with the sign of `b`. */
  copySign: (a: F64, b: F64): F64 => apply("f64", scalar(0xa6), [a, b]),
  lt: (a: F64, b: F64): I32 => apply("i32", scalar(0x63), [a, b]),
  ge: (a: F64, b: F64): I32 => apply("i32", scalar(0x66), [a, b]),
  fromF32: (a: F32): F64 => apply("f64", scalar(0xbb), [a]),
  /** Of a signed integer, rounded. */
  fromI64: (a: I64): F64 => apply("f64", scalar(0xb9), [a]),
  /** The float of these bits. */
  fromBits: (a: I64): F64 => apply("f64", scalar(0xbf), [a]),
  max: (a: F64, b: F64): F64 => apply("f64", scalar(0xa5), [a, b]),
  fromI32: (a: I32): F64 => apply("f64", scalar(0xb7), [a]),
  /** Truncates; the value must fit. */
  toI32: (a: F64): I32 => apply("i32", scalar(0xaa), [a]),
};

/** 128 bits without a lane type. */
export const v128 = {
  load: (address: I32, offset: number = 0): V128 => memory("v128", simd(0), [address], offset),
  /** One word in all four lanes. */
  load32Splat: (address: I32, offset: number = 0): V128 => memory("v128", simd(9), [address], offset),
  /** One word in lane 0, zeros elsewhere. */
  load32Zero: (address: I32, offset: number = 0): V128 => memory("v128", simd(92), [address], offset),
  /** Replaces one lane by a word from memory. */
  load32Lane: (address: I32, vector: V128, lane: number, offset: number = 0): V128 =>
    memory("v128", simd(86), [address, vector], offset, 0, lane),
  store: (address: I32, value: V128, offset: number = 0): Statement =>
    asStatement(memory("v128", simd(11), [address, value], offset)),
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
