import { at } from "../../base/at.ts";
import { isWhole } from "../../base/expect.ts";
import { sizeOf } from "../dtype.ts";
import { STORED } from "../op_dtypes.ts";
import { expectAxes, expectDtype, fail, isAxis, one, type ShapeRules } from "./rule.ts";

/** Shape rules of the ops that rearrange, repeat or select elements by position. */
export const movementShapes: ShapeRules<
  "broadcast" | "reshape" | "transpose" | "slice" | "pad" | "concat" | "stopGradient" | "barrier"
> = {
  broadcast(inputs, { shape }) {
    const x = one("broadcast", inputs);
    expectDtype("broadcast", inputs, 0, STORED);
    expectAxes("broadcast", inputs, [shape]);
    if (x.shape.some((extent, axis) => extent !== 1 && extent !== shape[axis])) {
      fail("broadcast", `only axes of extent 1 can be repeated to [${shape.join(",")}]`, inputs);
    }
    return { shape, dtype: x.dtype };
  },
  reshape(inputs, { shape }) {
    const x = one("reshape", inputs);
    if (sizeOf(shape) !== sizeOf(x.shape)) {
      fail("reshape", `${sizeOf(x.shape)} elements do not fill [${shape.join(",")}]`, inputs);
    }
    return { shape, dtype: x.dtype };
  },
  transpose(inputs, { permutation }) {
    const x = one("transpose", inputs);
    expectDtype("transpose", inputs, 0, STORED);
    expectAxes("transpose", inputs, [permutation]);
    if (x.shape.some((_, axis) => !permutation.includes(axis))) {
      fail("transpose", `[${permutation.join(",")}] is not a permutation of its axes`, inputs);
    }
    return { shape: permutation.map((axis) => at(x.shape, axis)), dtype: x.dtype };
  },
  slice(inputs, { starts, limits, strides }) {
    const x = one("slice", inputs);
    expectDtype("slice", inputs, 0, STORED);
    expectAxes("slice", inputs, [starts, limits, strides]);
    const shape = x.shape.map((extent, axis) => {
      const [start, limit, stride] = [at(starts, axis), at(limits, axis), at(strides, axis)];
      if (!isWhole(limit, 0, extent) || !isWhole(start, 0, limit) || !isWhole(stride, 1)) {
        fail("slice", `axis ${axis}: ${start} to ${limit} by ${stride} is not within ${extent}`, inputs);
      }
      return Math.ceil((limit - start) / stride);
    });
    return { shape, dtype: x.dtype };
  },
  pad(inputs, { low, high, interior }) {
    const x = one("pad", inputs);
    expectDtype("pad", inputs, 0, STORED);
    expectAxes("pad", inputs, [low, high, interior]);
    if (![low, high, interior].flat().every((count) => isWhole(count, 0))) {
      fail("pad", "padding must be whole numbers, 0 or more; use slice to remove elements", inputs);
    }
    const shape = x.shape.map((extent, axis) =>
      at(low, axis) + extent + Math.max(0, extent - 1) * at(interior, axis) + at(high, axis)
    );
    return { shape, dtype: x.dtype };
  },
  concat(inputs, { axis }) {
    const [first] = inputs;
    if (first === undefined) fail("concat", "needs at least one operand", inputs);
    if (!isAxis(axis, first.shape)) fail("concat", `there is no axis ${axis}`, inputs);
    for (const [index, { shape, dtype }] of inputs.entries()) {
      expectDtype("concat", inputs, index, STORED);
      if (dtype !== first.dtype) fail("concat", "operands differ in dtype; cast them", inputs);
      if (
        shape.length !== first.shape.length ||
        shape.some((extent, a) => a !== axis && extent !== first.shape[a])
      ) fail("concat", `operands may differ along axis ${axis} only`, inputs);
    }
    const joined = inputs.reduce((sum, { shape }) => sum + at(shape, axis), 0);
    return { shape: first.shape.with(axis, joined), dtype: first.dtype };
  },
  stopGradient: (inputs) => one("stopGradient", inputs),
  barrier: (inputs) => one("barrier", inputs),
};
