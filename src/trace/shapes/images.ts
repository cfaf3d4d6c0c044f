import { isWhole } from "../../base/expect.ts";
import type { Aval, Shape } from "../dtype.ts";
import { FLOAT } from "../op_dtypes.ts";
import type { ConvAttrs, OpName, Pair, PoolAttrs } from "../ops.ts";
import { expectDtype, expectSame, expectShape, fail, one, type ShapeRules, two, twoFloats } from "./rule.ts";

type Four = readonly [number, number, number, number];

/** The extents of a shape of four axes; undefined for any other rank. */
function four(shape: Shape): Four | undefined {
  const [n, height, width, channels] = shape;
  if (n === undefined || height === undefined || width === undefined || channels === undefined) {
    return undefined;
  }
  return shape.length === 4 ? [n, height, width, channels] : undefined;
}

/** Requires an image of at least one pixel: the result has pixels, and each is made of the image's. */
function expectImage(op: OpName, inputs: readonly Aval[], [, height, width]: Four): void {
  if (height > 0 && width > 0) return;
  fail(op, `needs an image with pixels, not one of ${height} × ${width}`, inputs);
}

/** Requires whole numbers of at least `least` pixels. */
function expectPixels(op: OpName, inputs: readonly Aval[], what: string, counts: Pair, least: number): void {
  if (counts.every((count) => isWhole(count, least))) return;
  fail(op, `${what} must be whole numbers, ${least} or more, not ${counts.join(" and ")}`, inputs);
}

/**
 * The number of positions of a kernel or window along one axis: the extent of the result.
 *
 * @param extent Pixels of the image.
 * @param window Kernel or window size, in pixels.
 * @param padding Pixels before and after the image.
 */
export function windowCount(
  extent: number,
  window: number,
  stride: number,
  padding: Pair,
  dilation: number = 1,
): number {
  return Math.floor((extent + padding[0] + padding[1] - dilation * (window - 1) - 1) / stride) + 1;
}

/** The shape NPQK of a convolution of an image NHWC with a filter KRSC. */
function convShape(
  op: OpName,
  inputs: readonly Aval[],
  imageShape: Shape,
  filterShape: Shape,
  attrs: ConvAttrs,
): Shape {
  const { strides, padding, dilation, groups } = attrs;
  const [image, filter] = [four(imageShape), four(filterShape)];
  if (image === undefined || filter === undefined) {
    fail(op, "needs an NHWC image and a filter [out, height, width, in]", inputs);
  }
  expectPixels(op, inputs, "strides", strides, 1);
  expectPixels(op, inputs, "dilation", dilation, 1);
  for (const pair of padding) expectPixels(op, inputs, "padding", pair, 0);
  if (!isWhole(groups, 1)) fail(op, `groups must be a whole number, 1 or more, not ${groups}`, inputs);
  if (filter[3] * groups !== image[3] || filter[0] % groups !== 0) {
    const nchw = image[1] === filter[3] * groups
      ? "; the image looks like NCHW, but images are NHWC: use x.transpose(0, 2, 3, 1)"
      : "";
    fail(
      op,
      `image channels ${image[3]} must be filter channels ${
        filter[3]
      } × groups ${groups}, which must divide ${filter[0]}${nchw}`,
      inputs,
    );
  }
  const height = windowCount(image[1], filter[1], strides[0], padding[0], dilation[0]);
  const width = windowCount(image[2], filter[2], strides[1], padding[1], dilation[1]);
  if (height < 1 || width < 1) {
    fail(op, "the kernel size exceeds the padded image; enlarge the image or pad", inputs);
  }
  return [image[0], height, width, filter[0]];
}

/** The shape of a pooling of an NHWC image. */
function poolShape(op: OpName, inputs: readonly Aval[], imageShape: Shape, attrs: PoolAttrs): Shape {
  const image = four(imageShape);
  if (image === undefined) fail(op, "needs an NHWC image", inputs);
  expectImage(op, inputs, image);
  const { window, strides, padding } = attrs;
  expectPixels(op, inputs, "window", window, 1);
  expectPixels(op, inputs, "strides", strides, 1);
  for (const pair of padding) expectPixels(op, inputs, "padding", pair, 0);
  const smaller = (pair: Pair, extent: number) => pair[0] < extent && pair[1] < extent;
  if (!smaller(padding[0], window[0]) || !smaller(padding[1], window[1])) {
    fail(op, "padding must be smaller than the window", inputs);
  }
  const height = windowCount(image[1], window[0], strides[0], padding[0]);
  const width = windowCount(image[2], window[1], strides[1], padding[1]);
  if (height < 1 || width < 1) {
    fail(op, "the window exceeds the padded image; enlarge the image or pad", inputs);
  }
  return [image[0], height, width, image[3]];
}

function oneFloat(op: OpName, inputs: readonly Aval[]): Aval {
  const x = one(op, inputs);
  expectDtype(op, inputs, 0, FLOAT);
  return x;
}

/** An NHWC image with other extents in place of height and width. */
function resized(op: OpName, inputs: readonly Aval[], height: number, width: number): Aval {
  const { shape, dtype } = oneFloat(op, inputs);
  const image = four(shape);
  if (image === undefined) fail(op, "operand 0 must have 4 axes", inputs);
  expectImage(op, inputs, image);
  return { shape: [image[0], height, width, image[3]], dtype };
}

/** Shape rules of convolution, pooling, resizing and their gradients. */
export const imageShapes: ShapeRules<
  | "conv"
  | "convInputGrad"
  | "convFilterGrad"
  | "maxPool"
  | "maxPoolGrad"
  | "maxPoolPick"
  | "avgPool"
  | "avgPoolGrad"
  | "resize"
  | "resizeGrad"
> = {
  conv(inputs, attrs) {
    const [image, filter] = twoFloats("conv", inputs);
    return { shape: convShape("conv", inputs, image.shape, filter.shape, attrs), dtype: image.dtype };
  },
  convInputGrad(inputs, attrs) {
    const [{ dtype }, filter] = twoFloats("convInputGrad", inputs);
    const dy = convShape("convInputGrad", inputs, attrs.inputShape, filter.shape, attrs);
    expectShape("convInputGrad", inputs, 0, dy);
    return { shape: attrs.inputShape, dtype };
  },
  convFilterGrad(inputs, attrs) {
    const [image] = twoFloats("convFilterGrad", inputs);
    const dy = convShape("convFilterGrad", inputs, image.shape, attrs.filterShape, attrs);
    expectShape("convFilterGrad", inputs, 1, dy);
    return { shape: attrs.filterShape, dtype: image.dtype };
  },
  maxPool(inputs, attrs) {
    const image = oneFloat("maxPool", inputs);
    return { shape: poolShape("maxPool", inputs, image.shape, attrs), dtype: image.dtype };
  },
  maxPoolGrad(inputs, attrs) {
    const [image] = twoFloats("maxPoolGrad", inputs);
    expectShape("maxPoolGrad", inputs, 1, poolShape("maxPoolGrad", inputs, image.shape, attrs));
    return image;
  },
  maxPoolPick(inputs, attrs) {
    const [image] = two("maxPoolPick", inputs);
    expectDtype("maxPoolPick", inputs, 0, FLOAT);
    expectSame("maxPoolPick", inputs, 0, 1);
    return { shape: poolShape("maxPoolPick", inputs, image.shape, attrs), dtype: image.dtype };
  },
  avgPool(inputs, attrs) {
    const image = oneFloat("avgPool", inputs);
    return { shape: poolShape("avgPool", inputs, image.shape, attrs), dtype: image.dtype };
  },
  avgPoolGrad(inputs, attrs) {
    const { dtype } = oneFloat("avgPoolGrad", inputs);
    expectShape("avgPoolGrad", inputs, 0, poolShape("avgPoolGrad", inputs, attrs.inputShape, attrs));
    return { shape: attrs.inputShape, dtype };
  },
  resize(inputs, { height, width }) {
    const result = resized("resize", inputs, height, width);
    expectPixels("resize", inputs, "height and width", [height, width], 1);
    return result;
  },
  resizeGrad: (inputs, { height, width }) => resized("resizeGrad", inputs, height, width),
};
