import { LocalgradError } from "../base/errors.ts";
import { isWhole } from "../base/expect.ts";
import { type Aval, type DType, formatAval, sameShape, type Shape, sizeOf } from "./dtype.ts";
import { notAnElement } from "./elements.ts";
import { binaryDtypes, FLOAT, FOLDED, INTEGER, STORED, unaryDtypes } from "./op_dtypes.ts";
import type { ConvAttrs, OpAttrs, OpName, Pair, PoolAttrs } from "./ops.ts";

/** An op's shape rule: raises a {@link LocalgradError} on operands it cannot take. */
export type ShapeRule<N extends OpName> = (inputs: readonly Aval[], attrs: OpAttrs[N]) => Aval;

function fail(op: string, why: string, inputs: readonly Aval[]): never {
  throw new LocalgradError(`${op}(${inputs.map(formatAval).join(", ")}): ${why}`);
}

function expectOperands(op: OpName, inputs: readonly Aval[], count: number): void {
  if (inputs.length !== count) fail(op, `takes ${count} operand${count === 1 ? "" : "s"}`, inputs);
}

function expectDtype(op: OpName, inputs: readonly Aval[], index: number, dtypes: readonly DType[]): void {
  if (!dtypes.includes(inputs[index].dtype)) {
    fail(op, `operand ${index} must be ${dtypes.join(" or ")}; cast it first`, inputs);
  }
}

/** Two operands of one dtype of real numbers. */
function expectFloats(op: OpName, inputs: readonly Aval[]): void {
  expectDtype(op, inputs, 0, FLOAT);
  if (inputs[1].dtype !== inputs[0].dtype) fail(op, "operands 0 and 1 differ in dtype; cast one", inputs);
}

function expectSame(op: string, inputs: readonly Aval[], a: number, b: number): void {
  if (inputs[a].dtype !== inputs[b].dtype) {
    fail(op, `operands ${a} and ${b} differ in dtype; cast one`, inputs);
  }
  if (!sameShape(inputs[a].shape, inputs[b].shape)) {
    fail(op, `operands ${a} and ${b} differ in shape; reshape or broadcast one`, inputs);
  }
}

function expectRank(op: OpName, inputs: readonly Aval[], index: number, rank: number): void {
  if (inputs[index].shape.length !== rank) fail(op, `operand ${index} must have ${rank} axes`, inputs);
}

function expectShape(op: OpName, inputs: readonly Aval[], index: number, shape: Shape): void {
  if (!sameShape(inputs[index].shape, shape)) {
    fail(op, `operand ${index} must have shape [${shape.join(",")}]`, inputs);
  }
}

function expectAxes(op: OpName, inputs: readonly Aval[], lists: readonly (readonly number[])[]): void {
  const rank = inputs[0].shape.length;
  for (const list of lists) {
    if (list.length !== rank) fail(op, `needs one entry for each of ${rank} axes`, inputs);
  }
}

/** Counts of pixels: whole numbers, and `least` or more. */
function expectPixels(op: OpName, inputs: readonly Aval[], what: string, counts: Pair, least: number): void {
  if (counts.every((count) => isWhole(count, least))) return;
  fail(op, `${what} must be whole numbers, ${least} or more, not ${counts.join(" and ")}`, inputs);
}

function isAxis(axis: number, shape: Shape): boolean {
  return isWhole(axis, 0, shape.length - 1);
}

/** Windows along an axis of `extent` pixels. */
export function windowCount(
  extent: number,
  window: number,
  stride: number,
  padding: Pair,
  dilation: number = 1,
): number {
  return Math.floor((extent + padding[0] + padding[1] - dilation * (window - 1) - 1) / stride) + 1;
}

function convShape(
  op: OpName,
  inputs: readonly Aval[],
  image: Shape,
  filter: Shape,
  attrs: ConvAttrs,
): Shape {
  const { strides, padding, dilation, groups } = attrs;
  if (image.length !== 4 || filter.length !== 4) {
    fail(op, "needs an NHWC image and a filter [out, height, width, in]", inputs);
  }
  expectPixels(op, inputs, "strides", strides, 1);
  expectPixels(op, inputs, "dilation", dilation, 1);
  for (const pair of padding) expectPixels(op, inputs, "padding", pair, 0);
  if (!isWhole(groups, 1)) fail(op, `groups must be a whole number, 1 or more, not ${groups}`, inputs);
  if (filter[3] * groups !== image[3] || filter[0] % groups !== 0) {
    fail(
      op,
      `image channels ${image[3]} must be filter channels ${
        filter[3]
      } × groups ${groups}, which must divide ${filter[0]}`,
      inputs,
    );
  }
  const height = windowCount(image[1], filter[1], strides[0], padding[0], dilation[0]);
  const width = windowCount(image[2], filter[2], strides[1], padding[1], dilation[1]);
  if (height < 1 || width < 1) {
    fail(op, `the window does not fit the padded image; enlarge the image or pad`, inputs);
  }
  return [image[0], height, width, filter[0]];
}

function poolShape(op: OpName, inputs: readonly Aval[], image: Shape, attrs: PoolAttrs): Shape {
  if (image.length !== 4) fail(op, "needs an NHWC image", inputs);
  const { window, strides, padding } = attrs;
  expectPixels(op, inputs, "window", window, 1);
  expectPixels(op, inputs, "strides", strides, 1);
  for (const pair of padding) expectPixels(op, inputs, "padding", pair, 0);
  if (padding.some((pair, axis) => pair[0] >= window[axis] || pair[1] >= window[axis])) {
    fail(op, "padding must be smaller than the window", inputs);
  }
  const height = windowCount(image[1], window[0], strides[0], padding[0]);
  const width = windowCount(image[2], window[1], strides[1], padding[1]);
  if (height < 1 || width < 1) fail(op, "the window does not fit the padded image", inputs);
  return [image[0], height, width, image[3]];
}

/**
 * The shape rule of every op. Adding an op starts with an entry in {@link OpAttrs}; then the type checker names each
 * table (gradients, reference, backends) that lacks it.
 */
export const shapeRules: { readonly [N in OpName]: ShapeRule<N> } = {
  unary(inputs, { fn }) {
    expectOperands("unary", inputs, 1);
    const dtypes: readonly DType[] = unaryDtypes[fn];
    if (!dtypes.includes(inputs[0].dtype)) fail(fn, `needs ${dtypes.join(" or ")}; cast it first`, inputs);
    return { shape: inputs[0].shape, dtype: fn === "isFinite" ? "bool" : inputs[0].dtype };
  },
  binary(inputs, { fn }) {
    expectOperands("binary", inputs, 2);
    expectSame(fn, inputs, 0, 1);
    const dtypes: readonly DType[] = binaryDtypes[fn];
    if (!dtypes.includes(inputs[0].dtype)) fail(fn, `needs ${dtypes.join(" or ")}; cast first`, inputs);
    return inputs[0];
  },
  compare(inputs, { fn }) {
    expectOperands("compare", inputs, 2);
    expectSame(fn, inputs, 0, 1);
    expectDtype("compare", inputs, 0, STORED);
    return { shape: inputs[0].shape, dtype: "bool" };
  },
  select(inputs) {
    expectOperands("select", inputs, 3);
    expectDtype("select", inputs, 0, ["bool"]);
    expectSame("select", inputs, 1, 2);
    expectDtype("select", inputs, 1, STORED);
    expectShape("select", inputs, 0, inputs[1].shape);
    return inputs[1];
  },
  cast(inputs, { dtype }) {
    expectOperands("cast", inputs, 1);
    if (dtype === "u8") fail("cast", "u8 is storage only and cannot be made by a program", inputs);
    return { shape: inputs[0].shape, dtype };
  },
  constant(inputs, { shape, dtype, values }) {
    expectOperands("constant", inputs, 0);
    if (dtype === "u8") fail("constant", "u8 is storage only", inputs);
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
    expectOperands("iota", inputs, 0);
    if (!isAxis(axis, shape)) fail("iota", `[${shape.join(",")}] has no axis ${axis}`, inputs);
    return { shape, dtype };
  },
  randomBits(inputs, { shape }) {
    expectOperands("randomBits", inputs, 1);
    if (inputs[0].dtype !== "u32" || !sameShape(inputs[0].shape, [2])) {
      fail("randomBits", "needs a key u32[2]", inputs);
    }
    return { shape, dtype: "u32" };
  },
  broadcast(inputs, { shape }) {
    expectOperands("broadcast", inputs, 1);
    expectDtype("broadcast", inputs, 0, STORED);
    expectAxes("broadcast", inputs, [shape]);
    if (inputs[0].shape.some((extent, axis) => extent !== 1 && extent !== shape[axis])) {
      fail("broadcast", `only axes of extent 1 can be repeated to [${shape.join(",")}]`, inputs);
    }
    return { shape, dtype: inputs[0].dtype };
  },
  reshape(inputs, { shape }) {
    expectOperands("reshape", inputs, 1);
    if (sizeOf(shape) !== sizeOf(inputs[0].shape)) {
      fail("reshape", `${sizeOf(inputs[0].shape)} elements do not fill [${shape.join(",")}]`, inputs);
    }
    return { shape, dtype: inputs[0].dtype };
  },
  transpose(inputs, { permutation }) {
    expectOperands("transpose", inputs, 1);
    expectDtype("transpose", inputs, 0, STORED);
    expectAxes("transpose", inputs, [permutation]);
    if (inputs[0].shape.some((_, axis) => !permutation.includes(axis))) {
      fail("transpose", `[${permutation.join(",")}] is not a permutation of its axes`, inputs);
    }
    return { shape: permutation.map((axis) => inputs[0].shape[axis]), dtype: inputs[0].dtype };
  },
  slice(inputs, { starts, limits, strides }) {
    expectOperands("slice", inputs, 1);
    expectDtype("slice", inputs, 0, STORED);
    expectAxes("slice", inputs, [starts, limits, strides]);
    const shape = inputs[0].shape.map((extent, axis) => {
      const [start, limit, stride] = [starts[axis], limits[axis], strides[axis]];
      if (!isWhole(limit, 0, extent) || !isWhole(start, 0, limit) || !isWhole(stride, 1)) {
        fail("slice", `axis ${axis}: ${start} to ${limit} by ${stride} is not within ${extent}`, inputs);
      }
      return Math.ceil((limit - start) / stride);
    });
    return { shape, dtype: inputs[0].dtype };
  },
  pad(inputs, { low, high, interior }) {
    expectOperands("pad", inputs, 1);
    expectDtype("pad", inputs, 0, STORED);
    expectAxes("pad", inputs, [low, high, interior]);
    if (![low, high, interior].flat().every((count) => isWhole(count, 0))) {
      fail("pad", "pads by whole numbers, 0 or more; slice instead of padding by less", inputs);
    }
    const shape = inputs[0].shape.map((extent, axis) =>
      low[axis] + extent + Math.max(0, extent - 1) * interior[axis] + high[axis]
    );
    return { shape, dtype: inputs[0].dtype };
  },
  concat(inputs, { axis }) {
    if (inputs.length === 0) fail("concat", "needs at least one operand", inputs);
    const rank = inputs[0].shape.length;
    if (!isAxis(axis, inputs[0].shape)) fail("concat", `there is no axis ${axis}`, inputs);
    const shape = [...inputs[0].shape];
    for (const [index, input] of inputs.entries()) {
      expectDtype("concat", inputs, index, STORED);
      if (input.dtype !== inputs[0].dtype) fail("concat", "operands differ in dtype; cast them", inputs);
      if (input.shape.length !== rank || input.shape.some((extent, a) => a !== axis && extent !== shape[a])) {
        fail("concat", `operands may differ along axis ${axis} only`, inputs);
      }
      if (index > 0) shape[axis] += input.shape[axis];
    }
    return { shape, dtype: inputs[0].dtype };
  },
  reduce(inputs, { fn, axes }) {
    expectOperands("reduce", inputs, 1);
    expectDtype("reduce", inputs, 0, FOLDED);
    const { shape, dtype } = inputs[0];
    if (axes.some((axis, i) => !isAxis(axis, shape) || axes.indexOf(axis) !== i)) {
      fail(fn, `[${axes.join(",")}] are not distinct axes of it`, inputs);
    }
    if (fn !== "sum" && axes.some((axis) => shape[axis] === 0)) fail(fn, "of nothing is undefined", inputs);
    return { shape: shape.filter((_, axis) => !axes.includes(axis)), dtype };
  },
  argmax(inputs, { axis }) {
    expectOperands("argmax", inputs, 1);
    expectDtype("argmax", inputs, 0, FOLDED);
    const { shape } = inputs[0];
    if (!isAxis(axis, shape)) fail("argmax", `there is no axis ${axis}`, inputs);
    if (shape[axis] === 0) fail("argmax", "of nothing is undefined", inputs);
    return { shape: shape.filter((_, a) => a !== axis), dtype: "i32" };
  },
  matmul(inputs, { transposeA, transposeB }) {
    expectOperands("matmul", inputs, 2);
    expectFloats("matmul", inputs);
    const [a, b] = [inputs[0].shape, inputs[1].shape];
    const rank = a.length;
    if (rank !== b.length || (rank !== 2 && rank !== 3)) {
      fail("matmul", "needs two matrices or two batches of them", inputs);
    }
    const [m, k] = transposeA ? [a[rank - 1], a[rank - 2]] : [a[rank - 2], a[rank - 1]];
    const [k2, n] = transposeB ? [b[rank - 1], b[rank - 2]] : [b[rank - 2], b[rank - 1]];
    if (k !== k2) fail("matmul", `inner extents differ: ${k} and ${k2}`, inputs);
    if (rank === 3 && a[0] !== b[0]) fail("matmul", `batches differ: ${a[0]} and ${b[0]}`, inputs);
    return { shape: rank === 3 ? [a[0], m, n] : [m, n], dtype: inputs[0].dtype };
  },
  conv(inputs, attrs) {
    expectOperands("conv", inputs, 2);
    expectFloats("conv", inputs);
    return {
      shape: convShape("conv", inputs, inputs[0].shape, inputs[1].shape, attrs),
      dtype: inputs[0].dtype,
    };
  },
  convInputGrad(inputs, attrs) {
    expectOperands("convInputGrad", inputs, 2);
    expectFloats("convInputGrad", inputs);
    const dy = convShape("convInputGrad", inputs, attrs.inputShape, inputs[1].shape, attrs);
    expectShape("convInputGrad", inputs, 0, dy);
    return { shape: attrs.inputShape, dtype: inputs[0].dtype };
  },
  convFilterGrad(inputs, attrs) {
    expectOperands("convFilterGrad", inputs, 2);
    expectFloats("convFilterGrad", inputs);
    const dy = convShape("convFilterGrad", inputs, inputs[0].shape, attrs.filterShape, attrs);
    expectShape("convFilterGrad", inputs, 1, dy);
    return { shape: attrs.filterShape, dtype: inputs[0].dtype };
  },
  maxPool(inputs, attrs) {
    expectOperands("maxPool", inputs, 1);
    expectDtype("maxPool", inputs, 0, FLOAT);
    return { shape: poolShape("maxPool", inputs, inputs[0].shape, attrs), dtype: inputs[0].dtype };
  },
  maxPoolGrad(inputs, attrs) {
    expectOperands("maxPoolGrad", inputs, 2);
    expectFloats("maxPoolGrad", inputs);
    expectShape("maxPoolGrad", inputs, 1, poolShape("maxPoolGrad", inputs, inputs[0].shape, attrs));
    return inputs[0];
  },
  maxPoolPick(inputs, attrs) {
    expectOperands("maxPoolPick", inputs, 2);
    expectDtype("maxPoolPick", inputs, 0, FLOAT);
    expectSame("maxPoolPick", inputs, 0, 1);
    return { shape: poolShape("maxPoolPick", inputs, inputs[0].shape, attrs), dtype: inputs[0].dtype };
  },
  avgPool(inputs, attrs) {
    expectOperands("avgPool", inputs, 1);
    expectDtype("avgPool", inputs, 0, FLOAT);
    return { shape: poolShape("avgPool", inputs, inputs[0].shape, attrs), dtype: inputs[0].dtype };
  },
  avgPoolGrad(inputs, attrs) {
    expectOperands("avgPoolGrad", inputs, 1);
    expectDtype("avgPoolGrad", inputs, 0, FLOAT);
    expectShape("avgPoolGrad", inputs, 0, poolShape("avgPoolGrad", inputs, attrs.inputShape, attrs));
    return { shape: attrs.inputShape, dtype: inputs[0].dtype };
  },
  resize(inputs, { height, width }) {
    expectOperands("resize", inputs, 1);
    expectDtype("resize", inputs, 0, FLOAT);
    expectRank("resize", inputs, 0, 4);
    expectPixels("resize", inputs, "height and width", [height, width], 1);
    return { shape: [inputs[0].shape[0], height, width, inputs[0].shape[3]], dtype: inputs[0].dtype };
  },
  resizeGrad(inputs, { height, width }) {
    expectOperands("resizeGrad", inputs, 1);
    expectDtype("resizeGrad", inputs, 0, FLOAT);
    expectRank("resizeGrad", inputs, 0, 4);
    return { shape: [inputs[0].shape[0], height, width, inputs[0].shape[3]], dtype: inputs[0].dtype };
  },
  gather(inputs) {
    expectOperands("gather", inputs, 2);
    expectDtype("gather", inputs, 1, INTEGER);
    const [operand, indices] = inputs;
    if (operand.shape.length === 0 || operand.shape[0] === 0) {
      fail("gather", "has no rows to pick from", inputs);
    }
    return {
      shape: [...indices.shape, ...operand.shape.slice(1)],
      dtype: operand.dtype === "u8" ? "f32" : operand.dtype,
    };
  },
  scatterAdd(inputs, { rows }) {
    expectOperands("scatterAdd", inputs, 2);
    expectDtype("scatterAdd", inputs, 0, FLOAT);
    expectDtype("scatterAdd", inputs, 1, INTEGER);
    const [updates, indices] = inputs;
    const lead = indices.shape.length;
    if (!isWhole(rows, 1) || !sameShape(updates.shape.slice(0, lead), indices.shape)) {
      fail("scatterAdd", "updates must begin with the shape of the indices, and rows be at least 1", inputs);
    }
    return { shape: [rows, ...updates.shape.slice(lead)], dtype: inputs[0].dtype };
  },
  stopGradient(inputs) {
    expectOperands("stopGradient", inputs, 1);
    return inputs[0];
  },
  barrier(inputs) {
    expectOperands("barrier", inputs, 1);
    return inputs[0];
  },
};
