/**
 * Auxiliary networks for dense prediction: the heads of `heads.ts` without pooling to a point, whose fully connected layers
 * are 1×1 convolutions. They give logits of each pixel, which bilinear resizing with aligned corners brings to the size of the
 * labels.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectKind, shown } from "../../base/expect.ts";
import { type ImageInput, imageInput, type Model, segments } from "../../models/model.ts";
import { relu } from "../../nn/activation.ts";
import { conv } from "../../nn/conv.ts";
import { imageExtents } from "../../nn/image.ts";
import { type Layer, type Layers, sequential, stateless } from "../../nn/layer.ts";
import { adaptiveAveragePooling } from "../../nn/pooling.ts";
import { tokenGrid, tokensAsImage } from "../../nn/tokens.ts";
import { upsampling } from "../../nn/upsampling.ts";
import type { Shape } from "../../trace/dtype.ts";
import { classifier, type ClassifierName, type DglHead, dglHead } from "./heads.ts";
import { areTokens } from "./tokens.ts";
import { convUnit, HIDDEN, repeated } from "./units.ts";

/**
 * Makes the classifier of a network's local losses: of images {@link classifier}, of pixels its dense form. `AcBf` is then A
 * 3×3 convolutions as there, but none of them strided, B − 1 1×1 convolutions to 128 with ReLU, and a 1×1 convolution to
 * `outputs`. `fcn`, only of pixels, is InfoPro's head for DeepLabV3: a 3×3 convolution to half the channels with batch norm
 * and ReLU, and a 1×1 convolution.
 *
 * @param features The features of one image: `[height, width, channels]`, or `[length, width]` of tokens.
 * @param outputs The number of logits or features; default the network's classes.
 */
export function classifierFor(
  model: Model,
  name: ClassifierName,
  features: Shape,
  outputs?: number,
): Layer {
  expectKind("classifierFor: the network", model, "object");
  const out = outputs ?? model.classes;
  if (!segments(model)) return classifier(name, features, out, model.summary);
  return overPixels(model, features, ([, , channels]): Layers => {
    const parsed = /^([0-2])c([1-3])f$/.exec(name);
    if (name === "fcn") {
      const half = Math.max(1, Math.floor(channels / 2));
      return { conv: convUnit({ in: channels, out: half, padding: 1 }), fc: point(half, out) };
    }
    if (parsed === null) {
      throw new LocalgradError(
        `the classifier ${
          shown(name)
        } is not for pixels; choose "fcn", or name it by its layers, such as "1c2f"`,
      );
    }
    const [convs, linears] = [Number(parsed[1]), Number(parsed[2])];
    const wide = convs === 0 ? channels : channels < 64 ? 2 * channels : channels;
    return {
      ...(convs === 0 ? {} : {
        convs: repeated(convs, (i) => convUnit({ in: i === 0 ? channels : wide, out: wide, padding: 1 })),
      }),
      ...(linears === 1 ? {} : {
        hidden: repeated(
          linears - 1,
          (i) => sequential({ linear: point(i === 0 ? wide : HIDDEN, HIDDEN), relu: relu() }),
        ),
      }),
      fc: point(linears === 1 ? wide : HIDDEN, out),
    };
  });
}

/**
 * Makes DGL's head for a network: of images {@link dglHead}, of pixels its dense form, which pools to a quarter of the size
 * (`mlp-sr-large`: to 8×8) as there and no further, and keeps the width.
 *
 * @param features The features of one image: `[height, width, channels]`, or `[length, width]` of tokens.
 */
export function dglHeadFor(model: Model, name: DglHead, features: Shape): Layer {
  expectKind("dglHeadFor: the network", model, "object");
  const { classes } = model;
  if (!segments(model)) return dglHead(name, features, classes, model.summary);
  return overPixels(model, features, ([height, width, channels]): Layers => {
    const units = (count: number, inputs: number, out: number) =>
      repeated(count, (i) => convUnit({ in: i === 0 ? inputs : out, out, window: 1 }));
    const quarter = adaptiveAveragePooling(Math.ceil(height / 4), Math.ceil(width / 4));
    switch (name) {
      case "mlp-sr":
        return {
          pool: quarter,
          convs: units(3, channels, channels),
          hidden: units(3, channels, channels),
          fc: point(channels, classes),
        };
      case "mlp-sr-large":
        return {
          pool: adaptiveAveragePooling(Math.min(8, height), Math.min(8, width)),
          convs: units(3, channels, 128),
          hidden: units(3, 128, 512),
          fc: point(512, classes),
        };
      case "mlp":
        return { pool: quarter, hidden: units(3, channels, channels), fc: point(channels, classes) };
      case "cnn":
        return {
          convs: repeated(2, () => convUnit({ in: channels, out: channels, padding: 1 })),
          fc: point(channels, classes),
        };
      default:
        return { head: dglHead(name, features, classes) }; // refuses the name
    }
  });
}

/** Makes the end of a head: logits of a vector by a linear layer `fc`, or of pixels. */
export function pixelLogits(model: Model, features: Shape): Layer {
  return overPixels(model, features, ([, , channels]) => ({ fc: point(channels, model.classes) }));
}

/** A linear layer at each pixel, whose weight starts with the deviation of a linear layer's. */
function point(inputs: number, out: number): Layer {
  return conv({ in: inputs, out, window: 1, bias: true, std: 1 / Math.sqrt(3 * inputs) });
}

/** Puts tokens on their grid, applies layers to features, and resizes what they give to the size of the labels. */
function overPixels(
  model: Model,
  features: Shape,
  layers: (extents: readonly [height: number, width: number, channels: number]) => Layers,
): Layer {
  const { height, width }: ImageInput = imageInput("segmentation", model);
  const resize = { upsampling: upsampling({ size: [height, width], alignCorners: true }) };
  if (areTokens(features)) {
    const grid = tokenGrid("segmentation", at(features, 0), { height, width });
    return sequential({
      image: stateless((x) => tokensAsImage(x, grid)),
      ...layers([grid.rows, grid.columns, at(features, 1)]),
      ...resize,
    });
  }
  return sequential({ ...layers(imageExtents("segmentation", features)), ...resize });
}
