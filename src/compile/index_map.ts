import { type Shape, stridesOf } from "../trace/dtype.ts";
import type { Instruction } from "../trace/program.ts";
import type { View } from "./kernel.ts";

/** The index along one axis of a value, as an affine function of the index in a kernel's space. */
export type AxisIndex = View;

/** Which element of a value belongs to each point of a kernel's space: one affine function an axis. */
export type IndexMap = readonly AxisIndex[];

/** An axis of the space that must first be cut into `[extent / inner, inner]` for a reshape to be affine. */
export interface SplitAxis {
  /** The axis. */
  readonly axis: number;
  /** Extent of its inner part. */
  readonly inner: number;
}

/**
 * Each point its own element: of a value of `shape` over a `space` of the same elements in row-major order, whose
 * axes are those of `shape` with some cut into several and without axes of extent 1.
 */
export function identityMap(shape: Shape, space: Shape): IndexMap {
  const strides = stridesOf(space);
  let next = 0;
  return shape.map((extent) => {
    const index = new Array<number>(space.length).fill(0);
    let covered = 1;
    const first = next;
    while (covered < extent) covered *= space[next++];
    for (let axis = first; axis < next; axis++) index[axis] = strides[axis] / strides[next - 1];
    return { offset: 0, strides: index };
  });
}

/** What the operand of a moving op is read at, where its result is read at `map`. */
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
      const result = new Array<AxisIndex>(map.length);
      instruction.attrs.permutation.forEach((axis, i) => result[axis] = map[i]);
      return result;
    }
    case "slice":
      return map.map(({ offset, strides }, axis) => {
        const step = instruction.attrs.strides[axis];
        return {
          offset: instruction.attrs.starts[axis] + offset * step,
          strides: step === 1 ? strides : strides.map((stride) => stride * step),
        };
      });
  }
}

/** The element of a row-major buffer of `shape` read at `map`. */
export function viewOf(map: IndexMap, shape: Shape, rank: number): View {
  const steps = stridesOf(shape);
  let offset = 0;
  const strides = new Array<number>(rank).fill(0);
  map.forEach((index, axis) => {
    offset += index.offset * steps[axis];
    for (let i = 0; i < rank; i++) strides[i] += index.strides[i] * steps[axis];
  });
  return { offset, strides };
}

/**
 * What the operand of a reshape is read at, where its result is read at `map`; the axis of the space to cut first; or
 * undefined where no cutting helps. Axes are matched in the shortest groups of equal size: within a group the index
 * of the result is flattened (always affine), then cut into the operand's axes, which is affine as long as no term
 * straddles two of them.
 */
export function reshapeMap(
  map: IndexMap,
  shape: Shape,
  operandShape: Shape,
  space: Shape,
): IndexMap | SplitAxis | undefined {
  const zero: AxisIndex = { offset: 0, strides: space.map(() => 0) };
  const result: AxisIndex[] = operandShape.map(() => zero);
  let [i, j] = [0, 0];
  while (i < shape.length || j < operandShape.length) {
    const [from, to] = [i, j];
    let [size, operandSize] = [shape[i++] ?? 1, operandShape[j++] ?? 1];
    while (size !== operandSize) {
      if (size < operandSize) size *= shape[i++];
      else operandSize *= operandShape[j++];
    }
    const axes = map.slice(from, i);
    let flat = axes.length === 1 ? axes[0] : viewOf(axes, shape.slice(from, i), space.length);
    for (let axis = Math.min(j, operandShape.length) - 1; axis >= to; axis--) {
      if (operandShape[axis] === 1) continue;
      const outermost = operandShape.slice(to, axis).every((extent) => extent === 1);
      if (outermost) {
        result[axis] = flat;
        break;
      }
      const cut = cutIndex(flat, operandShape[axis], space);
      if (cut === undefined || "axis" in cut) return cut;
      [flat, result[axis]] = cut;
    }
  }
  return result;
}

/** Splits an index f into ⌊f / extent⌋ and f mod extent. */
function cutIndex(
  { offset, strides }: AxisIndex,
  extent: number,
  space: Shape,
): [AxisIndex, AxisIndex] | SplitAxis | undefined {
  const outer = strides.map((stride) => stride % extent === 0 ? stride / extent : 0);
  const inner = strides.map((stride) => stride % extent === 0 ? 0 : stride);
  let largest = offset % extent;
  for (let axis = 0; axis < space.length; axis++) {
    if (strides[axis] < 0) return undefined;
    largest += inner[axis] * (space[axis] - 1);
    if (inner[axis] * (space[axis] - 1) >= extent) {
      const part = extent / inner[axis];
      const divides = Number.isInteger(part) && space[axis] % part === 0;
      return divides ? { axis, inner: part } : undefined;
    }
  }
  if (largest >= extent) return undefined;
  return [{ offset: Math.floor(offset / extent), strides: outer }, {
    offset: offset % extent,
    strides: inner,
  }];
}
