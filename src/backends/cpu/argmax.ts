import type { Node, View } from "../../compile/kernel.ts";
import { type Aval, sizeOf, stridesOf } from "../../trace/dtype.ts";
import { launchOf } from "./fused.ts";
import { merge, type Nest } from "./fused_nest.ts";
import { splitReduction } from "./fused_split.ts";
import type { Launches, Operand } from "./routine.ts";

/** `argmax(operand)`: one pass finds the maximum, a second the least index that has it; for a NaN, of the first NaN. */
export function argmax(operand: Aval, axis: number, from: Operand, to: Operand): Launches {
  const { shape, dtype } = operand;
  const reduced = shape.map((_, a) => a === axis);
  const kept = shape.filter((_, a) => a !== axis);
  const keptView: View = { offset: 0, strides: stridesOf(kept).toSpliced(axis, 0, 0) };
  const load: Node = { kind: "load", input: 0, view: { offset: 0, strides: stridesOf(shape) }, dtype };
  const maximum: Operand = { workspace: 0 };
  const shared = { space: shape, reduced, stores: [] as const };
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
