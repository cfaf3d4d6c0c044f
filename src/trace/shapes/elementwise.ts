import type { DType } from "../dtype.ts";
import { binaryDtypes, STORED, unaryDtypes } from "../op_dtypes.ts";
import { expectDtype, expectSame, expectShape, fail, one, type ShapeRules, three, two } from "./rule.ts";

/** Shape rules of the element-wise ops. */
export const elementwiseShapes: ShapeRules<"unary" | "binary" | "compare" | "select" | "cast"> = {
  unary(inputs, { fn }) {
    const x = one("unary", inputs);
    const dtypes: readonly DType[] = unaryDtypes[fn];
    if (!dtypes.includes(x.dtype)) fail(fn, `needs ${dtypes.join(" or ")}; cast it first`, inputs);
    return { shape: x.shape, dtype: fn === "isFinite" ? "bool" : x.dtype };
  },
  binary(inputs, { fn }) {
    const [a] = two("binary", inputs);
    expectSame(fn, inputs, 0, 1);
    const dtypes: readonly DType[] = binaryDtypes[fn];
    if (!dtypes.includes(a.dtype)) fail(fn, `needs ${dtypes.join(" or ")}; cast first`, inputs);
    return a;
  },
  compare(inputs, { fn }) {
    const [a] = two("compare", inputs);
    expectSame(fn, inputs, 0, 1);
    expectDtype("compare", inputs, 0, STORED);
    return { shape: a.shape, dtype: "bool" };
  },
  select(inputs) {
    const [, a] = three("select", inputs);
    expectDtype("select", inputs, 0, ["bool"]);
    expectSame("select", inputs, 1, 2);
    expectDtype("select", inputs, 1, STORED);
    expectShape("select", inputs, 0, a.shape);
    return a;
  },
  cast(inputs, { dtype }) {
    const x = one("cast", inputs);
    if (dtype === "u8") fail("cast", "a program cannot produce u8, a storage-only dtype", inputs);
    return { shape: x.shape, dtype };
  },
};
