import { at } from "../base/at.ts";
import { type Shape, stridesOf } from "../trace/dtype.ts";
import type { Instruction } from "../trace/program.ts";
import type { View } from "./kernel.ts";

/** The element of a value at each point of a kernel's space: per axis of the value, an affine function of the point. */
export type IndexMap = readonly View[];

/** An axis of the space that must first be split into `[extent / inner, inner]` for a reshape to be affine. */
export interface SplitAxis {
  /** The axis. */
  readonly axis: number;
  /** Extent of its inner part. */
  readonly inner: number;
}

/**
 * Maps each point to its own element of a value of `shape`, over a `space` of the same elements in row-major order. The
 * axes of `space` are those of `shape`, some split into several, without axes of extent 1.
 */
export function identityMap(shape: Shape, space: Shape): IndexMap {
  const strides = stridesOf(space);
  let next = 0;
  return shape.map((extent) => {
    const index = new Array<number>(space.length).fill(0);
    const first = next;
    for (let covered = 1; covered < extent; next++) covered *= at(space, next);
    for (let axis = first; axis < next; axis++) index[axis] = at(strides, axis) / at(strides, next - 1);
    return { offset: 0, strides: index };
  });
}

/** Maps the result of a data-moving op, read at `map`, to where its operand is read. */
export function operandMap(
  instruction: Extract<Instruction, { op: "broadcast" | "transpose" | "slice" }>,
  map: IndexMap,
  operandShape: Shape,
): IndexMap {
  switch (instruction.op) {
    case "broadcast":
      return map.map((index, axis) =>
        operandShape[axis] === 1 ? { offset: 0, strides: index.strides.map(() => 0) } : index
      );
    case "transpose": {
      const { permutation } = instruction.attrs;
      return map.map((_, axis) => at(map, permutation.indexOf(axis)));
    }
    case "slice": {
      const { starts, strides: steps } = instruction.attrs;
      return map.map(({ offset, strides }, axis) => {
        const step = at(steps, axis);
        return {
          offset: at(starts, axis) + offset * step,
          strides: step === 1 ? strides : strides.map((stride) => stride * step),
        };
      });
    }
  }
}

/** Returns the element of a row-major buffer of `shape` that is read at `map`, over a space of `rank` axes. */
export function viewOf(map: IndexMap, shape: Shape, rank: number): View {
  let offset = 0;
  const strides = new Array<number>(rank).fill(0);
  stridesOf(shape).forEach((step, axis) => {
    const index = at(map, axis);
    offset += index.offset * step;
    index.strides.forEach((stride, i) => strides[i] = (strides[i] ?? 0) + stride * step);
  });
  return { offset, strides };
}

/**
 * Maps the result of a reshape, read at `map`, to where its operand is read. Returns the axis of the space to split
 * first if that is needed, and undefined if no split helps. Axes are matched in the shortest groups of equal size:
 * within a group, the index of the result is flattened (always affine), then split into the operand's axes, which is
 * affine as long as no term straddles two of them.
 */
export function reshapeMap(
  map: IndexMap,
  shape: Shape,
  operandShape: Shape,
  space: Shape,
): IndexMap | SplitAxis | undefined {
  const zero: View = { offset: 0, strides: space.map(() => 0) };
  const result: View[] = operandShape.map(() => zero);
  let [i, j] = [0, 0];
  while (i < shape.length || j < operandShape.length) {
    const [from, to] = [i, j];
    let [size, operandSize] = [shape[i++] ?? 1, operandShape[j++] ?? 1];
    while (size !== operandSize) {
      if (size < operandSize) size *= at(shape, i++);
      else operandSize *= at(operandShape, j++);
    }
    const axes = map.slice(from, i);
    const [only] = axes;
    let flat = axes.length === 1 && only !== undefined
      ? only
      : viewOf(axes, shape.slice(from, i), space.length);
    for (let axis = Math.min(j, operandShape.length) - 1; axis >= to; axis--) {
      const extent = at(operandShape, axis);
      if (extent === 1) continue;
      const isOutermost = operandShape.slice(to, axis).every((extent) => extent === 1);
      if (isOutermost) {
        result[axis] = flat;
        break;
      }
      const parts = splitIndex(flat, extent, space);
      if (parts === undefined || "axis" in parts) return parts;
      [flat, result[axis]] = parts;
    }
  }
  return result;
}

/** Splits an index f into ⌊f / extent⌋ and f mod extent. */
function splitIndex(
  { offset, strides }: View,
  extent: number,
  space: Shape,
): [View, View] | SplitAxis | undefined {
  const outer = strides.map((stride) => stride % extent === 0 ? stride / extent : 0);
  const inner = strides.map((stride) => stride % extent === 0 ? 0 : stride);
  let largest = offset % extent;
  for (const [axis, stride] of inner.entries()) {
    if (at(strides, axis) < 0) return undefined;
    const points = at(space, axis);
    largest += stride * (points - 1);
    if (stride * (points - 1) >= extent) {
      const part = extent / stride;
      const divides = Number.isInteger(part) && points % part === 0;
      return divides ? { axis, inner: part } : undefined;
    }
  }
  if (largest >= extent) return undefined;
  return [{ offset: Math.floor(offset / extent), strides: outer }, {
    offset: offset % extent,
    strides: inner,
  }];
}
