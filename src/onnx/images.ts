import { at } from "../base/at.ts";
import type { ConvAttrs, Pair, PoolAttrs } from "../trace/ops.ts";
import { windowCount } from "../trace/shapes/images.ts";
import { fixed, type Symbolic } from "./dim.ts";
import type { Attributes } from "./graph.ts";
import { channelsFirst, type Operand } from "./operand.ts";
import type { SymbolicAval } from "./record.ts";
import { type Lowering, node, permuted, type Rules } from "./rule.ts";

const GRADIENT = "it is a gradient, which networks do not compute in evaluation";

/** `[top, left, bottom, right]`, as ONNX has it. */
function pads(padding: readonly [Pair, Pair]): number[] {
  const [[top, bottom], [left, right]] = padding;
  return [top, left, bottom, right];
}

function convAttributes({ strides, padding, dilation, groups }: ConvAttrs, filter: Operand): Attributes {
  const [, height = 0, width = 0] = fixed<readonly number[]>("conv", filter.shape);
  return {
    kernel_shape: [height, width],
    strides,
    pads: pads(padding),
    dilations: dilation,
    group: groups,
  };
}

function pool(
  op: string,
  to: Lowering,
  x: Operand,
  attrs: Symbolic<PoolAttrs>,
  out: SymbolicAval,
  more: Attributes = {},
) {
  const { window, strides, padding } = fixed<PoolAttrs>(op, attrs);
  const order = channelsFirst(out);
  const attributes = { kernel_shape: window, strides, pads: pads(padding), ...more };
  return node(to, op, [to.reader.whole(x, order)], out, order, attributes);
}

/** Rules of convolution, pooling and resizing: images become NCHW, filters OIHW. */
export const imageRules: Rules<
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
  conv(to, [image, filter], attrs, out) {
    const order = channelsFirst(out);
    const inputs = [image, filter].map((operand) => to.reader.whole(operand, order));
    return node(to, "Conv", inputs, out, order, convAttributes(fixed<ConvAttrs>("conv", attrs), filter));
  },
  convInputGrad(to, [dy, filter], { inputShape, ...attrs }, out) {
    const { strides, padding, dilation, groups } = fixed<ConvAttrs>("convInputGrad", attrs);
    const [, height = 0, width = 0] = fixed<readonly number[]>("convInputGrad", filter.shape);
    // Rows after the last position of the kernel, which the result has too.
    const rest = ([[1, height], [2, width]] as const).map(([axis, window], i) => {
      const extent = fixed<number>("convInputGrad", at(inputShape, axis));
      const [pair, stride, step] = [at(padding, i), at(strides, i), at(dilation, i)];
      const last = (windowCount(extent, window, stride, pair, step) - 1) * stride + step * (window - 1) + 1;
      return extent + pair[0] + pair[1] - last;
    });
    const order = channelsFirst(out);
    const inputs = [dy, filter].map((operand) => to.reader.whole(operand, order));
    const attributes = convAttributes({ strides, padding, dilation, groups }, filter);
    return node(to, "ConvTranspose", inputs, out, order, { ...attributes, output_padding: rest });
  },
  convFilterGrad: { refused: GRADIENT },
  maxPool: (to, [x], attrs, out) => pool("MaxPool", to, x, attrs, out),
  maxPoolGrad: { refused: GRADIENT },
  maxPoolPick: { refused: GRADIENT },
  avgPool: (to, [x], attrs, out) => pool("AveragePool", to, x, attrs, out, { count_include_pad: 1 }),
  avgPoolGrad: { refused: GRADIENT },
  resize(to, [x], { alignCorners }, out) {
    const order = channelsFirst(out);
    // All four extents: ONNX Runtime 1.32 moves transposes past Resize, and fails where only two axes are given.
    const sizes = to.reader.shapeTensor(permuted(out.shape, order));
    return node(to, "Resize", [to.reader.whole(x, order), "", "", sizes], out, order, {
      mode: "linear",
      coordinate_transformation_mode: alignCorners ? "align_corners" : "half_pixel",
    });
  },
  resizeGrad: { refused: GRADIENT },
};
