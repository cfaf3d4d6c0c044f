import type { Node, View } from "../../compile/kernel.ts";
import { type Aval, type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { OpAttrs } from "../../trace/ops.ts";
import { launchOf } from "./fused.ts";
import { merge, type Nest } from "./fused_nest.ts";
import { splitReduction } from "./fused_split.ts";
import type { Launch, Lowered, Operand } from "./routine.ts";

// Ops that are loops of the same kind as fused kernels, but write where those cannot, or take two passes.

const elementwise = { reductions: [], epilogue: [], epilogueStores: [] };

/** Writes `node` at every point of a space. */
function write(space: Shape, node: Node, from: readonly Operand[], to: Operand, view: View): Launch {
  const nest: Nest = {
    ...elementwise,
    space,
    reduced: space.map(() => false),
    operands: [...from, to],
    elementBytes: [...from, to].map(() => 4),
    nodes: [node],
    stores: [{ node: 0, operand: from.length, view }],
  };
  return launchOf(merge(nest));
}

/** Copies `value` to the places of `to` that `view` gives for each of its points. */
function copyTo(value: Aval, from: Operand, to: Operand, view: View): Launch {
  const whole = { offset: 0, strides: stridesOf(value.shape) };
  // The bits of an element are moved, whatever its dtype.
  return write(value.shape, { kind: "load", input: 0, view: whole, dtype: "u32" }, [from], to, view);
}

/** `concat(operands)`. */
export function concat(
  operands: readonly Aval[],
  result: Aval,
  { axis }: OpAttrs["concat"],
  from: readonly Operand[],
  to: Operand,
): Lowered {
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
): Lowered {
  const strides = stridesOf(result.shape);
  const view: View = {
    offset: low.reduce((sum, count, axis) => sum + count * strides[axis], 0),
    strides: strides.map((stride, axis) => stride * (interior[axis] + 1)),
  };
  const zeros = write([sizeOf(result.shape)], { kind: "constant", value: 0, dtype: "u32" }, [], to, {
    offset: 0,
    strides: [1],
  });
  const copy = copyTo(operand, from, to, view);
  return { launches: sizeOf(operand.shape) === 0 ? [zeros] : [zeros, copy], workspace: 0 };
}

/** `argmax(operand)`: the maximum, then the least index that has it. A maximum of NaN is where the first NaN is. */
export function argmax(operand: Aval, axis: number, from: Operand, to: Operand): Lowered {
  const { shape, dtype } = operand;
  const reduced = shape.map((_, a) => a === axis);
  const kept = shape.filter((_, a) => a !== axis);
  const spread = (strides: number[]) => shape.map((_, a) => a === axis ? 0 : strides.shift()!);
  const keptView: View = { offset: 0, strides: spread(stridesOf(kept)) };
  const load: Node = { kind: "load", input: 0, view: { offset: 0, strides: stridesOf(shape) }, dtype };
  const maximum: Operand = { workspace: 0 };
  const shared = { space: shape, reduced, stores: [] };
  const first: Nest = {
    ...shared,
    operands: [from, maximum],
    elementBytes: [4, 4],
    nodes: [load],
    reductions: [{ fn: "max", node: 0, dtype }],
    epilogue: [{ kind: "reduced", index: 0, dtype }],
    epilogueStores: [{ node: 0, operand: 1, view: keptView }],
  };
  const along = shape.map((_, a) => a === axis ? 1 : 0);
  const second: Nest = {
    ...shared,
    operands: [from, maximum, to],
    elementBytes: [4, 4, 4],
    nodes: [
      load,
      { kind: "load", input: 1, view: keptView, dtype },
      { kind: "compare", fn: "eq", args: [0, 1], dtype: "bool" },
      { kind: "compare", fn: "ne", args: [0, 0], dtype: "bool" }, // a NaN
      { kind: "binary", fn: "or", args: [2, 3], dtype: "bool" },
      { kind: "iota", view: { offset: 0, strides: along }, dtype: "i32" },
      { kind: "constant", value: shape[axis] - 1, dtype: "i32" },
      { kind: "select", args: [4, 5, 6], dtype: "i32" },
    ],
    reductions: [{ fn: "min", node: 7, dtype: "i32" }],
    epilogue: [{ kind: "reduced", index: 0, dtype: "i32" }],
    epilogueStores: [{ node: 0, operand: 2, view: keptView }],
  };
  const keptBytes = Math.ceil(sizeOf(kept) / 16) * 64;
  const parts = [first, second].map((nest) => splitReduction(merge(nest), keptBytes));
  return {
    launches: parts.flatMap(({ nests }) => nests.map(launchOf)),
    workspace: keptBytes + Math.max(...parts.map(({ workspace }) => workspace)),
  };
}
