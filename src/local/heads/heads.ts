/**
 * Auxiliary networks that compute local losses of a module's features: of images `[batch, H, W, C]`, tokens
 * `[batch, length, width]` or vectors `[batch, features]`.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectKind, expectObject, shown } from "../../base/expect.ts";
import type { Summary, VectorInput } from "../../models/model.ts";
import { batchNorm } from "../../nn/batch_norm.ts";
import { imageExtents } from "../../nn/image.ts";
import { type Layer, type Layers, sequential, stateless } from "../../nn/layer.ts";
import { conv } from "../../nn/conv.ts";
import { linear } from "../../nn/linear.ts";
import { relu } from "../../nn/activation.ts";
import { flatten } from "../../nn/flatten.ts";
import { adaptiveAveragePooling, globalAveragePooling } from "../../nn/pooling.ts";
import { tokenGrid, tokensAsImage } from "../../nn/tokens.ts";
import { requireShape, type Shape } from "../../trace/dtype.ts";
import { resizeBilinear } from "../../trace/functions.ts";
import { imagenetClassifier, imagenetDecoder } from "./imagenet_heads.ts";
import { areTokens, refuseEach, summarised } from "./tokens.ts";
import { convUnit, HIDDEN, linearUnit, repeated } from "./units.ts";

/** The heads of DGL, by name. */
export type DglHead = "mlp-sr" | "mlp-sr-large" | "mlp" | "cnn";

/**
 * Makes a head of Decoupled Greedy Learning (Belilovsky et al., 2020, arXiv 1901.08164), which keeps the width of the
 * features. `mlp`: pool to a quarter of the size, then to 2×2, three fully connected layers with batch norm and ReLU,
 * linear. `mlp-sr`: the same with three 1×1 convolutions with batch norm and ReLU at a quarter of the size. `cnn`: two
 * 3×3 convolutions with batch norm and ReLU, pool to 2×2, batch norm, linear. `mlp-sr-large` is the head of MAN++'s code,
 * with the same width for all features and about 0.64 M parameters: pool to 8×8, three 1×1 convolutions to 128 and global
 * average pooling, then three fully connected layers of 512, each with batch norm and ReLU, linear.
 *
 * Vectors have nothing to pool or convolve: `mlp` and `mlp-sr` are then the three fully connected layers, `mlp-sr-large`
 * those of 512, and `cnn` is refused. Tokens become a vector by layer normalisation and their summary.
 *
 * @param shape The features of one image: `[height, width, channels]`, `[length, width]` of tokens, or `[features]`.
 * @param classes The number of logits.
 * @param summary What stands for tokens; default `mean`.
 */
export function dglHead(name: DglHead, shape: Shape, classes: number, summary?: Summary): Layer {
  requireShape(shape, "dglHead");
  if (shape.length === 1) return sequential(vectorHead(name, at(shape, 0), classes));
  if (areTokens(shape)) {
    refuseEach("dgl", summary);
    return sequential({ ...summarised(shape, summary), ...vectorHead(name, at(shape, 1), classes) });
  }
  const [height, width, channels] = imageExtents("dglHead", shape);
  const features = 4 * channels;
  const quarter = adaptiveAveragePooling(Math.ceil(height / 4), Math.ceil(width / 4));
  const ending = { pool2: adaptiveAveragePooling(2, 2), flatten: flatten({ order: "channelsLast" }) };
  const hidden = () => repeated(3, () => linearUnit(features, features));
  const fc = linear({ in: features, out: classes });
  switch (name) {
    case "mlp-sr":
      return sequential({
        pool: quarter,
        convs: repeated(3, () => convUnit({ in: channels, out: channels, window: 1 })),
        ...ending,
        hidden: hidden(),
        fc,
      });
    case "mlp-sr-large":
      return sequential({
        pool: adaptiveAveragePooling(Math.min(8, height), Math.min(8, width)),
        convs: repeated(3, (i) => convUnit({ in: i === 0 ? channels : 128, out: 128, window: 1 })),
        average: globalAveragePooling(),
        hidden: repeated(3, (i) => linearUnit(i === 0 ? 128 : 512, 512)),
        fc: linear({ in: 512, out: classes }),
      });
    case "mlp":
      return sequential({ pool: quarter, ...ending, hidden: hidden(), fc });
    case "cnn":
      return sequential({
        convs: repeated(2, () => convUnit({ in: channels, out: channels, padding: 1 })),
        pool2: ending.pool2,
        bn: batchNorm({ channels }),
        flatten: ending.flatten,
        fc,
      });
    default:
      throw unknownHead(name);
  }
}

/** The fully connected layers of a head, for vectors. */
function vectorHead(name: DglHead, features: number, classes: number): Layers {
  if (name === "cnn") {
    throw new LocalgradError('dgl: the head "cnn" is for images, not for vectors or tokens; choose "mlp"');
  }
  if (!["mlp", "mlp-sr", "mlp-sr-large"].includes(name)) throw unknownHead(name);
  const width = name === "mlp-sr-large" ? 512 : features;
  return {
    hidden: repeated(3, (i) => linearUnit(i === 0 ? features : width, width)),
    fc: linear({ in: width, out: classes }),
  };
}

function unknownHead(name: string): LocalgradError {
  return new LocalgradError(
    `dgl: there is no head ${JSON.stringify(name)}; choose "mlp-sr", "mlp-sr-large", "mlp" or "cnn"`,
  );
}

/**
 * The name of a classifier of InfoPro: A convolutions and B fully connected layers, such as `1c2f`; or `imagenet`; or `fcn`,
 * of pixels.
 */
export type ClassifierName = `${0 | 1 | 2}c${1 | 2 | 3}f` | "imagenet" | "fcn";

/**
 * Makes a classifier of InfoPro (Wang et al., 2021, arXiv 2101.10832), named `AcBf`: A 3×3 convolutions with batch norm
 * and ReLU, of which the first doubles the width and halves the size for features of fewer than 64 channels; global
 * average pooling; B − 1 fully connected layers of 128 with ReLU; linear to `outputs`. `0c1f` is pooling and a linear
 * layer. For `imagenet`, see {@link imagenetClassifier}. Vectors and tokens take those without convolutions: vectors as they are, tokens after layer
 * normalisation and their summary.
 *
 * @param features The features of one image: `[height, width, channels]`, `[length, width]` of tokens, or `[features]`.
 * @param outputs The number of logits or features.
 * @param summary What stands for tokens; default `mean`.
 */
export function classifier(
  name: ClassifierName,
  features: Shape,
  outputs: number,
  summary?: Summary,
): Layer {
  requireShape(features, "classifier");
  const isImage = features.length !== 1 && !areTokens(features);
  if (!isImage && !/^0c/.test(name)) {
    throw new LocalgradError(
      `the classifier ${
        shown(name)
      } is for images, not for vectors or tokens; choose "0c1f", "0c2f" or "0c3f"`,
    );
  }
  const channels = at(isImage ? imageExtents("classifier", features) : features, features.length - 1);
  if (name === "imagenet") return imagenetClassifier(features, outputs);
  const parsed = /^([0-2])c([1-3])f$/.exec(name);
  if (parsed === null) {
    throw new LocalgradError(
      `there is no classifier ${
        shown(name)
      }; name it by its layers, such as "0c1f", "1c2f" or "2c2f", or "imagenet"`,
    );
  }
  const [convs, linears] = [Number(parsed[1]), Number(parsed[2])];
  const wide = channels < 64 ? 2 * channels : channels;
  const pooled = convs === 0 ? channels : wide;
  const last = linear({ in: linears === 1 ? pooled : HIDDEN, out: outputs });
  const unit = (i: number) =>
    convUnit(
      i === 0
        ? { in: channels, out: wide, strides: wide === channels ? 1 : 2, padding: 1 }
        : { in: wide, out: wide, padding: 1 },
    );
  const hidden = (i: number) =>
    sequential({ linear: linear({ in: i === 0 ? pooled : HIDDEN, out: HIDDEN }), relu: relu() });
  return sequential({
    ...(convs === 0 ? {} : { convs: repeated(convs, unit) }),
    ...(isImage
      ? { pool: globalAveragePooling() }
      : areTokens(features)
      ? summarised(features, summary)
      : {}),
    ...(linears === 1 ? {} : { hidden: repeated(linears - 1, hidden) }),
    fc: last,
  });
}

/** Tests whether inputs are large enough for the heads made for ImageNet: images with a side above STL-10's 96 pixels. */
export function isLarge(image: { readonly height: number; readonly width: number } | VectorInput): boolean {
  expectKind("an image", image, "object");
  if ("features" in image) return false;
  expectObject("an image", image, { height: "number", width: "number" });
  return Math.max(image.height, image.width) > 96;
}

/**
 * Makes InfoPro's decoder: bilinear resizing of the features to the image's size with aligned corners, a 3×3 convolution
 * to 12 channels, batch norm, ReLU, and a 3×3 convolution to the image's channels. Large images are decoded in steps; see
 * {@link imagenetDecoder}. Tokens are put in their places as an image first; vectors have a linear layer to all pixels. The
 * result is logits of the pixels.
 *
 * @param features The features of one image: `[height, width, channels]`, `[length, width]` of tokens, or `[features]`.
 * @param image The shape of the image.
 * @param narrow Channels to which features are narrowed first; they are then decoded in steps, as those of large images.
 */
export function decoder(
  features: Shape,
  image: { readonly height: number; readonly width: number; readonly channels: number },
  narrow?: number,
): Layer {
  requireShape(features, "decoder");
  if (features.length === 1) {
    const { height, width, channels } = image;
    return sequential({
      fc: linear({ in: at(features, 0), out: height * width * channels }),
      image: stateless((x) => x.reshape(-1, height, width, channels)),
    });
  }
  if (areTokens(features)) {
    const grid = tokenGrid("decoder", at(features, 0), image);
    return sequential({
      image: stateless((x) => tokensAsImage(x, grid)),
      decoder: decoder([grid.rows, grid.columns, at(features, 1)], image),
    });
  }
  if (isLarge(image) || narrow !== undefined) return imagenetDecoder(features, image, narrow);
  const [, , channels] = imageExtents("decoder", features);
  return sequential({
    resize: stateless((x) => resizeBilinear(x, [image.height, image.width], { alignCorners: true })),
    conv1: conv({ in: channels, out: 12, padding: 1, bias: true }),
    bn: batchNorm({ channels: 12 }),
    relu: relu(),
    conv2: conv({ in: 12, out: image.channels, padding: 1, bias: true }),
  });
}
