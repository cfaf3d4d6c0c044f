import { at } from "../base/at.ts";
import { sizeOf } from "../trace/dtype.ts";
import { fixed, grows } from "./dim.ts";
import { dataTypeOf } from "./graph.ts";
import { inOrder, type Operand, orderOf } from "./operand.ts";
import { computed, converted, isKnown, type Lowering, node, permuted, type Rules, wrapped } from "./rule.ts";

/** The axes of a value that remain without `axes`, numbered anew. */
function without(order: readonly number[], axes: readonly number[]): number[] {
  const kept = order.filter((axis) => !axes.includes(axis));
  return kept.map((axis) => kept.filter((other) => other < axis).length);
}

/** Row numbers within `[0, rows)`. */
function clamped({ graph, reader }: Lowering, indices: Operand, rows: Operand["shape"][number]): string {
  const name = reader.whole(indices, inOrder(indices));
  const zero = graph.scalar(0, "INT64");
  const last = grows(rows)
    ? graph.node("Squeeze", [reader.extentTensor({ ...rows, fixed: rows.fixed - 1 })])
    : graph.scalar(rows - 1, "INT64");
  return graph.node("Clip", [name, zero, last]);
}

/** Rules of reductions, matrix products, and of rows chosen by index. */
export const rowRules: Rules<"reduce" | "argmax" | "matmul" | "gather" | "scatterAdd" | "randomBits"> = {
  reduce(to, [x], attrs, out) {
    const axes = fixed<readonly number[]>("reduce", attrs.axes);
    if (axes.length === 0) return x;
    const order = orderOf(x);
    const extents = permuted(x.shape, axes);
    const inputs = [to.reader.whole(x, order), to.graph.integers(axes.map((axis) => order.indexOf(axis)))];
    const op = { sum: "ReduceSum", max: "ReduceMax", min: "ReduceMin" }[attrs.fn];
    const count = isKnown(extents) ? sizeOf(extents) : undefined;
    const name = to.graph.node(op, inputs, { keepdims: 0 }, count);
    return computed(wrapped(to, name, out.dtype), out, without(order, axes));
  },
  argmax(to, [x], attrs, out) {
    const axis = fixed<number>("argmax", attrs.axis);
    const order = orderOf(x);
    const attributes = { axis: order.indexOf(axis), keepdims: 0 };
    return node(to, "ArgMax", [to.reader.whole(x, order)], out, without(order, [axis]), attributes);
  },
  matmul(to, [a, b], { transposeA, transposeB }, out) {
    const rows = (x: Operand, swap: boolean) => {
      const own = inOrder(x);
      return to.reader.whole(x, swap && own.length === 3 ? [0, 2, 1] : own);
    };
    const names = [rows(a, transposeA), rows(b, transposeB)];
    if (out.shape.length === 3) return node(to, "MatMul", names, out, inOrder(out));
    return node(to, "Gemm", names, out, inOrder(out), {
      transA: transposeA ? 1 : 0,
      transB: transposeB ? 1 : 0,
    });
  },
  gather(to, [x, indices], _, out) {
    const rows = clamped(to, indices, at(x.shape, 0));
    const name = to.graph.node("Gather", [to.reader.whole(x, inOrder(x)), rows], { axis: 0 });
    const read = x.dtype === "u8" ? converted(to.graph, name, "FLOAT") : name;
    return computed(read, out, inOrder(out));
  },
  scatterAdd(to, [updates, indices], _, out) {
    const { graph, reader } = to;
    const zeros = graph.node("Expand", [
      graph.scalar(0, dataTypeOf(out.dtype)),
      reader.shapeTensor(out.shape),
    ]);
    const rows = graph.node("Unsqueeze", [clamped(to, indices, at(out.shape, 0)), graph.integers([-1])]);
    const values = reader.whole(updates, inOrder(updates));
    return node(to, "ScatterND", [zeros, rows, values], out, inOrder(out), { reduction: "add" });
  },
  randomBits: { refused: "it draws random numbers, which ONNX does not draw alike" },
};
