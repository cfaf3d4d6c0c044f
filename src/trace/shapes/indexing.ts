import { isWhole } from "../../base/expect.ts";
import { sameShape } from "../dtype.ts";
import { FLOAT, INTEGER } from "../op_dtypes.ts";
import { expectDtype, fail, type ShapeRules, two } from "./rule.ts";

/** Shape rules of the ops that address rows of axis 0 by index. */
export const indexingShapes: ShapeRules<"gather" | "scatterAdd"> = {
  gather(inputs) {
    const [operand, indices] = two("gather", inputs);
    expectDtype("gather", inputs, 1, INTEGER);
    const [rows, ...row] = operand.shape;
    if (rows === undefined || rows === 0) fail("gather", "operand 0 has no rows to select", inputs);
    return {
      shape: [...indices.shape, ...row],
      dtype: operand.dtype === "u8" ? "f32" : operand.dtype,
    };
  },
  scatterAdd(inputs, { rows }) {
    const [updates, indices] = two("scatterAdd", inputs);
    expectDtype("scatterAdd", inputs, 0, FLOAT);
    expectDtype("scatterAdd", inputs, 1, INTEGER);
    const lead = indices.shape.length;
    if (!isWhole(rows, 1) || !sameShape(updates.shape.slice(0, lead), indices.shape)) {
      fail("scatterAdd", "updates must begin with the shape of the indices, and rows be at least 1", inputs);
    }
    return { shape: [rows, ...updates.shape.slice(lead)], dtype: updates.dtype };
  },
};
