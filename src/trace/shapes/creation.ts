import { isWhole } from "../../base/expect.ts";
import { sameShape, sizeOf } from "../dtype.ts";
import { notAnElement } from "../elements.ts";
import { fail, isAxis, none, one, type ShapeRules } from "./rule.ts";

/** Shape rules of the ops that create a tensor from their attributes, or from a random key. */
export const creationShapes: ShapeRules<"constant" | "iota" | "randomBits"> = {
  constant(inputs, { shape, dtype, values }) {
    none("constant", inputs);
    if (dtype === "u8") fail("constant", "a program cannot produce u8, a storage-only dtype", inputs);
    if (values.length !== 1 && values.length !== sizeOf(shape)) {
      fail("constant", `${values.length} values do not fill [${shape.join(",")}]`, inputs);
    }
    for (const value of values) {
      const wrong = notAnElement(value, dtype);
      if (wrong !== undefined) fail("constant", `${wrong}; make it f32`, inputs);
    }
    if (values.length > 1024) fail("constant", "at most 1024 values; pass a device array instead", inputs);
    return { shape, dtype };
  },
  iota(inputs, { shape, dtype, axis }) {
    none("iota", inputs);
    if (!isAxis(axis, shape)) fail("iota", `[${shape.join(",")}] has no axis ${axis}`, inputs);
    return { shape, dtype };
  },
  randomBits(inputs, { shape, word }) {
    const key = one("randomBits", inputs);
    if (key.dtype !== "u32" || !sameShape(key.shape, [2])) fail("randomBits", "needs a key u32[2]", inputs);
    if (!isWhole(word, 0, 1)) fail("randomBits", `there is no word ${word}, only 0 and 1`, inputs);
    return { shape, dtype: "u32" };
  },
};
