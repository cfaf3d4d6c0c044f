import { at } from "../base/at.ts";
import type { Aval } from "../trace/dtype.ts";
import { wrap } from "../trace/elementwise.ts";
import type { OpAttrs, OpName } from "../trace/ops.ts";
import type { Instruction, InstructionOf, ValueId } from "../trace/program.ts";

/** A program that is simplified up to here, and can be added to. */
export interface Simplified {
  /** Returns the shape and dtype of a value. */
  aval(value: ValueId): Aval;
  /** Returns the instruction that makes a value; undefined for an input. */
  maker(value: ValueId): Instruction | undefined;
  /** Returns the value of an op on `inputs`: an existing value if it is the same, a simpler one if there is one. */
  emit<N extends OpName>(op: N, inputs: readonly ValueId[], attrs: OpAttrs[N]): ValueId;
}

/** Returns the instruction that makes a value if it is this op. */
export function made<N extends OpName>(s: Simplified, value: ValueId, op: N): InstructionOf<N> | undefined {
  const maker = s.maker(value);
  return maker?.op === op ? maker as InstructionOf<N> : undefined;
}

/** Returns a literal filled with one value. */
export function splat(s: Simplified, value: number, { shape, dtype }: Aval): ValueId {
  return s.emit("constant", [], { shape, dtype, values: [value] });
}

/** Returns the one value that a literal is filled with. */
export function splatOf(s: Simplified, value: ValueId): number | undefined {
  const values = made(s, value, "constant")?.attrs.values;
  return values?.length === 1 ? values[0] : undefined;
}

/** Returns a literal that is filled with one value, in another shape. */
export function resplat(s: Simplified, value: ValueId, result: Aval): ValueId | undefined {
  const constant = splatOf(s, value);
  return constant === undefined ? undefined : splat(s, constant, result);
}

/**
 * Folds an element-wise function of literals into a literal; undefined if an operand is not a literal. `f` takes the
 * element of each operand. Floats stay in float64 until a device takes them and rounds once; the float64 reference then
 * sees no rounding at all.
 */
export function foldLiterals(
  s: Simplified,
  inputs: readonly ValueId[],
  { shape, dtype }: Aval,
  f: (...elements: number[]) => number,
): ValueId | undefined {
  const columns: (readonly number[])[] = [];
  for (const input of inputs) {
    const literal = made(s, input, "constant");
    if (literal === undefined) return undefined;
    columns.push(literal.attrs.values.map((value) => wrap(value, s.aval(input).dtype)));
  }
  const count = Math.max(...columns.map((column) => column.length));
  const values = Array.from(
    { length: count },
    (_, i) => f(...columns.map((column) => at(column, column.length === 1 ? 0 : i))),
  );
  return s.emit("constant", [], { shape, dtype, values });
}
