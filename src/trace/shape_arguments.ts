import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import { type Aval, formatAval, type Shape } from "./dtype.ts";
import { atUserLine } from "./site.ts";

/** Axes of a reduction: one, several, or all if left out. Negative axes count from the end. */
export type Axes = number | readonly number[];

/** Refuses anything but a list of numbers; `what` begins the message. */
export function expectNumbers(what: string, values: readonly number[]): void {
  expectKind(what, values, "array");
  for (const value of values) expectKind(what, value, "number");
}

/** An axis counted from 0. */
export function axisOf(rank: number, axis: number): number {
  expectKind("the axis", axis, "number");
  return axis < 0 ? axis + rank : axis;
}

/** An axis counted from 0, which the operand of `who` must have. */
export function expectAxisOf(who: string, x: Aval, axis: number): number {
  const counted = axisOf(x.shape.length, axis);
  if (x.shape[counted] !== undefined) return counted;
  throw new LocalgradError(`${who}(${formatAval(x)}): there is no axis ${axis}${atUserLine()}`);
}

/** Axes counted from 0, in the order given. */
export function axesOf(rank: number, axes: Axes | undefined): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, axis) => axis);
  if (typeof axes === "number") return [axisOf(rank, axes)];
  expectKind("the axes", axes, "array");
  return axes.map((axis) => axisOf(rank, axis));
}

/** The shape asked of `reshape`, with the first −1 replaced by the extent that `size` elements leave for it. */
export function inferExtent(shape: Shape, size: number): Shape {
  const unknown = shape.indexOf(-1);
  if (unknown < 0) return shape;
  const known = shape.reduce((product, extent, axis) => axis === unknown ? product : product * extent, 1);
  return shape.with(unknown, Math.floor(size / known));
}

/** The shape that two shapes broadcast to, as in NumPy; undefined if they do not. */
export function broadcastShape(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const x = a[axis - (rank - a.length)] ?? 1;
    const y = b[axis - (rank - b.length)] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape.push(x === 1 ? y : x);
  }
  return shape;
}
