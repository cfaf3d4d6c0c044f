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
  /** The value, if it is a known i32; operations on known values are folded. */
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

/** The bytes of an opcode. */
export type Opcode = readonly number[];

/** A one-byte opcode. */
export const scalar = (opcode: number): Opcode => [opcode];
/** A SIMD opcode: the prefix 0xFD and a LEB128 number, which takes a second byte from 0x80 on. */
export const simd = (opcode: number): Opcode =>
  opcode < 0x80 ? [0xfd, opcode] : [0xfd, (opcode & 0x7f) | 0x80, opcode >> 7];
/** An atomic opcode: the prefix 0xFE and a number. */
export const atomic = (opcode: number): Opcode => [0xfe, opcode];

/** An instruction that takes operands from the stack. */
export function apply<T extends ValueType>(
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
 * An instruction that accesses memory. Accesses are declared unaligned (alignment exponent 0 is always allowed) except
 * for atomics, which demand their natural alignment.
 */
export function memory<T extends ValueType>(
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

/** A store, which leaves nothing on the stack, as a statement. */
export const asStatement = (expression: Expr<ValueType>): Statement => ({
  emit: (code) => expression.emit(code),
});
