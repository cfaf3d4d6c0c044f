/**
 * Auxiliary networks for large images, as in the ImageNet code of InfoPro and MAN. Sizes of features that were not
 * published follow the same pattern.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { expectObject } from "../../base/expect.ts";
import { imageExtents } from "../../nn/image.ts";
import { type Layer, type Layers, sequential, stateless } from "../../nn/layer.ts";
import { conv } from "../../nn/conv.ts";
import { linear } from "../../nn/linear.ts";
import { globalAveragePooling } from "../../nn/pooling.ts";
import type { Shape } from "../../trace/dtype.ts";
import { resizeBilinear } from "../../trace/functions.ts";
import { convUnit } from "./units.ts";

/**
 * Makes the task network: a 1×1 convolution to 256 channels (128 for features of at most 512 channels), 3×3 convolutions
 * of stride 2 to 256 and 512, a 1×1 convolution to 2048, each with batch norm and ReLU; global average pooling; linear.
 *
 * @param features The features of one image: `[height, width, channels]`.
 * @param outputs The number of logits or features.
 */
export function imagenetClassifier(features: Shape, outputs: number): Layer {
  const [, , channels] = imageExtents("imagenetClassifier", features);
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

/** Channels after the convolution at 1/2, 1/4, 1/8, … of the image's size. */
const WIDTHS = [12, 32, 64, 128] as const;

/**
 * Makes the decoder: a 1×1 convolution narrows the features; then bilinear resizing with aligned corners doubles their
 * size and a convolution follows, repeatedly, up to the image's size. Features of 14×14 with 1024 channels become 192
 * channels, 64 at 28×28 (both by 1×1 convolutions), 32 at 56×56, 12 at 112×112 and the image's channels at 224×224 (by
 * 3×3 convolutions). The result is logits of the pixels.
 *
 * @param features The features of one image: `[height, width, channels]`.
 * @param image The shape of the image.
 * @param narrow Channels after the first convolution; default 192 for features of 1024 channels or more, else a quarter of
 * them, at most 128.
 */
export function imagenetDecoder(
  features: Shape,
  image: { readonly height: number; readonly width: number; readonly channels: number },
  narrow?: number,
): Layer {
  const [height, , channels] = imageExtents("imagenetDecoder", features);
  expectObject("imagenetDecoder: the image", image, {
    height: "number",
    width: "number",
    channels: "number",
  });
  const doublings = Math.max(1, Math.ceil(Math.log2(image.height / height)));
  const first = narrow ?? (channels >= 1024 ? 192 : Math.min(128, Math.ceil(channels / 4)));
  const layers: { [name: string]: Layers[string] } = {
    narrow: convUnit({ in: channels, out: first, window: 1 }),
  };
  let width = first;
  for (let left = doublings - 1; left >= 0; left--) {
    const [rows, columns] = [Math.ceil(image.height / 2 ** left), Math.ceil(image.width / 2 ** left)];
    layers[`up${rows}`] = stateless((x) => resizeBilinear(x, [rows, columns], { alignCorners: true }));
    const out = left === 0 ? image.channels : Math.min(width, at(WIDTHS, Math.min(left, WIDTHS.length) - 1));
    layers[`conv${rows}`] = left === 0
      ? conv({ in: width, out, padding: 1, bias: true })
      : left > 2
      ? convUnit({ in: width, out, window: 1 })
      : convUnit({ in: width, out, padding: 1 });
    width = out;
  }
  return sequential(layers);
}
