import {
  apply,
  asStatement,
  atomic,
  type F32,
  type F64,
  type I32,
  type I64,
  type Int,
  memory,
  scalar,
  type Statement,
} from "./expressions.ts";

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
  load16u: (address: I32, offset: number = 0): I32 => memory("i32", scalar(0x2f), [address], offset),
  load8u: (address: I32, offset: number = 0): I32 => memory("i32", scalar(0x2d), [address], offset),
  store: (address: I32, value: Int, offset: number = 0): Statement =>
    asStatement(memory("i32", scalar(0x36), [address, int(value)], offset)),
  store16: (address: I32, value: Int, offset: number = 0): Statement =>
    asStatement(memory("i32", scalar(0x3b), [address, int(value)], offset)),
  /** The bits of a float. */
  ofF32: (a: F32): I32 => apply("i32", scalar(0xbc), [a]),
  /** Low half of an i64. */
  wrap: (a: I64): I32 => apply("i32", scalar(0xa7), [a]),
  atomicLoad: (address: I32, offset: number = 0): I32 => memory("i32", atomic(0x10), [address], offset, 2),
  atomicStore: (address: I32, value: Int, offset: number = 0): Statement =>
    asStatement(memory("i32", atomic(0x17), [address, int(value)], offset, 2)),
  /** Adds, and returns the value before. */
  atomicAdd: (address: I32, value: Int, offset: number = 0): I32 =>
    memory("i32", atomic(0x1e), [address, int(value)], offset, 2),
  /** Sleeps while the word equals `expected`, at most `nanoseconds`. */
  atomicWait: (address: I32, expected: Int, nanoseconds: bigint, offset: number = 0): I32 =>
    memory("i32", atomic(0x01), [address, int(expected), i64.constant(nanoseconds)], offset, 2),
  /** Wakes at most `count` sleepers on the word. */
  atomicNotify: (address: I32, count: Int, offset: number = 0): I32 =>
    memory("i32", atomic(0x00), [address, int(count)], offset, 2),
};

/** 64-bit integers: the ticket of a plan's tasks, and the reduction of large angles. */
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
  /** Rounded to nearest even. */
  fromF64: (a: F64): F32 => apply("f32", scalar(0xb6), [a]),
};

/** 64-bit floats, for results that must be exact to the last bit of an f32. */
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
  /** A signed integer, rounded. */
  fromI64: (a: I64): F64 => apply("f64", scalar(0xb9), [a]),
  /** The float of these bits. */
  fromBits: (a: I64): F64 => apply("f64", scalar(0xbf), [a]),
  max: (a: F64, b: F64): F64 => apply("f64", scalar(0xa5), [a, b]),
  fromI32: (a: I32): F64 => apply("f64", scalar(0xb7), [a]),
  /** Truncates; the value must fit. */
  toI32: (a: F64): I32 => apply("i32", scalar(0xaa), [a]),
};
