import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { isWhole } from "../../base/expect.ts";
import { type Aval, type DType, formatAval, sameShape, type Shape } from "../dtype.ts";
import { FLOAT } from "../op_dtypes.ts";
import type { OpAttrs, OpName } from "../ops.ts";

/**
 * The shape rule of an op: shape and dtype of its result from those of its operands.
 *
 * @throws {LocalgradError} if the op does not take such operands or attributes.
 */
export type ShapeRule<N extends OpName> = (inputs: readonly Aval[], attrs: OpAttrs[N]) => Aval;

/** The shape rules of a family of ops. */
export type ShapeRules<N extends OpName> = { readonly [M in N]: ShapeRule<M> };

/** Throws an error that begins with the op and its operands. */
export function fail(op: string, why: string, inputs: readonly Aval[]): never {
  throw new LocalgradError(`${op}(${inputs.map(formatAval).join(", ")}): ${why}`);
}

/** Requires no operands. */
export function none(op: OpName, inputs: readonly Aval[]): void {
  if (inputs.length !== 0) fail(op, "takes 0 operands", inputs);
}

/** The only operand. */
export function one(op: OpName, inputs: readonly Aval[]): Aval {
  const [x] = inputs;
  if (x === undefined || inputs.length !== 1) fail(op, "takes 1 operand", inputs);
  return x;
}

/** Both operands. */
export function two(op: OpName, inputs: readonly Aval[]): readonly [Aval, Aval] {
  const [a, b] = inputs;
  if (a === undefined || b === undefined || inputs.length !== 2) fail(op, "takes 2 operands", inputs);
  return [a, b];
}

/** All three operands. */
export function three(op: OpName, inputs: readonly Aval[]): readonly [Aval, Aval, Aval] {
  const [a, b, c] = inputs;
  if (a === undefined || b === undefined || c === undefined || inputs.length !== 3) {
    fail(op, "takes 3 operands", inputs);
  }
  return [a, b, c];
}

/** Requires one of some dtypes of the operand at `index`. */
export function expectDtype(
  op: OpName,
  inputs: readonly Aval[],
  index: number,
  dtypes: readonly DType[],
): void {
  if (dtypes.includes(at(inputs, index).dtype)) return;
  fail(op, `operand ${index} must be ${dtypes.join(" or ")}; cast it first`, inputs);
}

/** Two operands of the same floating-point dtype. */
export function twoFloats(op: OpName, inputs: readonly Aval[]): readonly [Aval, Aval] {
  const [a, b] = two(op, inputs);
  expectDtype(op, inputs, 0, FLOAT);
  if (a.dtype !== b.dtype) fail(op, "operands 0 and 1 differ in dtype; cast one", inputs);
  return [a, b];
}

/** Requires the same shape and dtype of the operands at `a` and `b`. */
export function expectSame(op: string, inputs: readonly Aval[], a: number, b: number): void {
  const [x, y] = [at(inputs, a), at(inputs, b)];
  if (x.dtype !== y.dtype) fail(op, `operands ${a} and ${b} differ in dtype; cast one`, inputs);
  if (!sameShape(x.shape, y.shape)) {
    fail(op, `operands ${a} and ${b} differ in shape; reshape or broadcast one`, inputs);
  }
}

/** Requires a shape of the operand at `index`. */
export function expectShape(op: OpName, inputs: readonly Aval[], index: number, shape: Shape): void {
  if (sameShape(at(inputs, index).shape, shape)) return;
  fail(op, `operand ${index} must have shape [${shape.join(",")}]`, inputs);
}

/** Requires one entry in each list for each axis of the first operand. */
export function expectAxes(
  op: OpName,
  inputs: readonly Aval[],
  lists: readonly (readonly number[])[],
): void {
  const rank = at(inputs, 0).shape.length;
  for (const list of lists) {
    if (list.length !== rank) fail(op, `needs one entry for each of ${rank} axes`, inputs);
  }
}

/** Tells whether `axis` is an axis of a shape, counted from 0. */
export function isAxis(axis: number, shape: Shape): boolean {
  return isWhole(axis, 0, shape.length - 1);
}
