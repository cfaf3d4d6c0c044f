/**
 * Auxiliary networks for large images, as in the ImageNet code of InfoPro and MAN. Where a size of features was not
 * published, the same pattern goes on.
 *
 * @module
 */

import { expectObject } from "../../base/expect.ts";
import { type Layer, type Layers, sequential, stateless } from "../../nn/layer.ts";
import { conv } from "../../nn/conv.ts";
import { linear } from "../../nn/linear.ts";
import { globalAveragePooling } from "../../nn/pooling.ts";
import { requireShape, type Shape } from "../../trace/dtype.ts";
import { resizeBilinear } from "../../trace/functions.ts";
import { convUnit } from "./units.ts";

/**
 * The task network: a 1×1 convolution to 256 channels (128 for features of at most 512), 3×3 convolutions of stride 2
 * to 256 and 512, a 1×1 convolution to 2048, each with batch norm and ReLU; global average pooling; linear.
 */
export function imagenetClassifier(features: Shape, outputs: number): Layer {
  requireShape(features, "imagenetClassifier");
  const [, , channels] = features;
  const narrow = channels <= 512 ? 128 : 256;
  return sequential({
    convs: sequential({
      0: convUnit({ in: channels, out: narrow, window: 1 }),
      1: convUnit({ in: narrow, out: 256, strides: 2, padding: 1 }),
      2: convUnit({ in: 256, out: 512, strides: 2, padding: 1 }),
      3: convUnit({ in: 512, out: 2048, window: 1 }),
    }),
    pool: globalAveragePooling(),
    fc: linear({ in: 2048, out: outputs }),
  });
}

/** Channels after the convolution that follows k doublings less than the image's size: 1/2, 1/4, 1/8, …. */
const WIDTHS = [12, 32, 64, 128] as const;

/**
 * The reconstruction: a 1×1 convolution narrows the features; then their size is doubled (bilinearly, with aligned
 * corners) and a convolution follows, until they have the image's size. From 14×14 of 1024 channels: 192, at 28×28
 * 64 (both 1×1), at 56×56 32, at 112×112 12, at 224×224 the image's channels (3×3). Gives logits of the pixels.
 */
export function imagenetDecoder(
  features: Shape,
  image: { readonly height: number; readonly width: number; readonly channels: number },
): Layer {
  requireShape(features, "imagenetDecoder");
  const [height, , channels] = features;
  expectObject("imagenetDecoder: the image", image, {
    height: "number",
    width: "number",
    channels: "number",
  });
  const doublings = Math.max(1, Math.ceil(Math.log2(image.height / height)));
  const first = channels >= 1024 ? 192 : Math.min(128, Math.ceil(channels / 4));
  const layers: { [name: string]: Layers[string] } = {
    narrow: convUnit({ in: channels, out: first, window: 1 }),
  };
  let width = first;
  for (let left = doublings - 1; left >= 0; left--) {
    const [rows, columns] = [Math.ceil(image.height / 2 ** left), Math.ceil(image.width / 2 ** left)];
    layers[`up${rows}`] = stateless((x) => resizeBilinear(x, [rows, columns], { alignCorners: true }));
    const out = left === 0 ? image.channels : Math.min(width, WIDTHS[Math.min(left, WIDTHS.length) - 1]);
    layers[`conv${rows}`] = left === 0
      ? conv({ in: width, out, padding: 1, bias: true })
      : left > 2
      ? convUnit({ in: width, out, window: 1 })
      : convUnit({ in: width, out, padding: 1 });
    width = out;
  }
  return sequential(layers);
}
