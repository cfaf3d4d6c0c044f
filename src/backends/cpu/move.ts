import type { Node, View } from "../../compile/kernel.ts";
import { type Aval, type DType, type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { OpAttrs } from "../../trace/ops.ts";
import { launchOf } from "./fused.ts";
import { elementSize, merge, type Nest } from "./fused_nest.ts";
import type { Launch, Launches, Operand } from "./routine.ts";

// Ops that are loops like those of fused kernels, but write where those cannot.

const elementwise = { reductions: [], epilogue: [], epilogueStores: [] } as const;

/** The dtype as which an element is moved: that with its number of bytes. */
const bits = (dtype: DType): "bf16" | "u32" => dtype === "bf16" ? "bf16" : "u32";

/** Writes `node`, of the dtype of all operands, at every point of a space. */
function write(space: Shape, node: Node, from: readonly Operand[], to: Operand, view: View): Launch {
  const nest: Nest = {
    ...elementwise,
    space,
    reduced: space.map(() => false),
    operands: [...from, to],
    elementBytes: [...from, to].map(() => elementSize(node.dtype)),
    nodes: [node],
    stores: [{ node: 0, operand: from.length, view }],
  };
  return launchOf(merge(nest));
}

/** Copies `value` to the elements of `to` at `view`. */
function copyTo(value: Aval, from: Operand, to: Operand, view: View): Launch {
  const whole = { offset: 0, strides: stridesOf(value.shape) };
  const load: Node = { kind: "load", input: 0, view: whole, dtype: bits(value.dtype) };
  return write(value.shape, load, [from], to, view);
}

/** `concat(operands)`. */
export function concat(
  operands: readonly Aval[],
  result: Aval,
  { axis }: OpAttrs["concat"],
  from: readonly Operand[],
  to: Operand,
): Launches {
  const strides = stridesOf(result.shape);
  let start = 0;
  const launches = operands.map((operand, i) => {
    const view = { offset: start * strides[axis], strides };
    start += operand.shape[axis];
    return copyTo(operand, from[i], to, view);
  });
  return { launches, workspace: 0 };
}

/** `pad(operand)`. */
export function pad(
  operand: Aval,
  result: Aval,
  { low, interior }: OpAttrs["pad"],
  from: Operand,
  to: Operand,
): Launches {
  const strides = stridesOf(result.shape);
  const view: View = {
    offset: low.reduce((sum, count, axis) => sum + count * strides[axis], 0),
    strides: strides.map((stride, axis) => stride * (interior[axis] + 1)),
  };
  const zero: Node = { kind: "constant", value: 0, dtype: bits(result.dtype) };
  const zeros = write([sizeOf(result.shape)], zero, [], to, { offset: 0, strides: [1] });
  const copy = copyTo(operand, from, to, view);
  return { launches: sizeOf(operand.shape) === 0 ? [zeros] : [zeros, copy], workspace: 0 };
}
