import { at } from "../../base/at.ts";
import type { Shape } from "../dtype.ts";
import { FOLDED } from "../op_dtypes.ts";
import { expectDtype, fail, isAxis, one, type ShapeRules, twoFloats } from "./rule.ts";

/** Rows and columns of a matrix, or of each matrix of a batch, after the transpose. */
function extentsOf(shape: Shape, transpose: boolean): readonly [number, number] {
  const [rows, columns] = [at(shape, shape.length - 2), at(shape, shape.length - 1)];
  return transpose ? [columns, rows] : [rows, columns];
}

/** Shape rules of reductions and of the matrix product. */
export const contractionShapes: ShapeRules<"reduce" | "argmax" | "matmul"> = {
  reduce(inputs, { fn, axes }) {
    const { shape, dtype } = one("reduce", inputs);
    expectDtype("reduce", inputs, 0, FOLDED);
    if (axes.some((axis, i) => !isAxis(axis, shape) || axes.indexOf(axis) !== i)) {
      fail(fn, `[${axes.join(",")}] are not distinct axes of it`, inputs);
    }
    if (fn !== "sum" && axes.some((axis) => shape[axis] === 0)) {
      fail(fn, "undefined over an axis of extent 0", inputs);
    }
    return { shape: shape.filter((_, axis) => !axes.includes(axis)), dtype };
  },
  argmax(inputs, { axis }) {
    const { shape } = one("argmax", inputs);
    expectDtype("argmax", inputs, 0, FOLDED);
    if (!isAxis(axis, shape)) fail("argmax", `there is no axis ${axis}`, inputs);
    if (shape[axis] === 0) fail("argmax", "undefined over an axis of extent 0", inputs);
    return { shape: shape.filter((_, a) => a !== axis), dtype: "i32" };
  },
  matmul(inputs, { transposeA, transposeB }) {
    const [{ shape: a, dtype }, { shape: b }] = twoFloats("matmul", inputs);
    const rank = a.length;
    if (rank !== b.length || (rank !== 2 && rank !== 3)) {
      fail("matmul", "needs two matrices or two batches of them", inputs);
    }
    const [m, k] = extentsOf(a, transposeA);
    const [k2, n] = extentsOf(b, transposeB);
    if (k !== k2) fail("matmul", `inner extents differ: ${k} and ${k2}`, inputs);
    if (rank === 3 && a[0] !== b[0]) fail("matmul", `batches differ: ${a[0]} and ${b[0]}`, inputs);
    return { shape: [...a.slice(0, -2), m, n], dtype };
  },
};
