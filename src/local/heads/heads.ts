/**
 * Auxiliary networks: what judges a module's features during training. All take features `[batch, H, W, C]`.
 *
 * @module
 */

import { LocalgradError } from "../../base/errors.ts";
import { expectObject, shown } from "../../base/expect.ts";
import { batchNorm } from "../../nn/batch_norm.ts";
import { type Layer, sequential, stateless } from "../../nn/layer.ts";
import { conv } from "../../nn/conv.ts";
import { linear } from "../../nn/linear.ts";
import { relu } from "../../nn/activation.ts";
import { flatten } from "../../nn/flatten.ts";
import { adaptiveAveragePooling, globalAveragePooling } from "../../nn/pooling.ts";
import { requireShape, type Shape } from "../../trace/dtype.ts";
import { resizeBilinear } from "../../trace/functions.ts";
import { imagenetClassifier, imagenetDecoder } from "./imagenet_heads.ts";
import { convUnit, linearUnit, repeated } from "./units.ts";

/** Width of the hidden layers and of contrastive features in InfoPro's classifiers. */
const HIDDEN = 128;

/** The heads of DGL, by name. */
export type DglHead = "mlp-sr" | "mlp-sr-large" | "mlp" | "cnn";

/**
 * Heads of Decoupled Greedy Learning (Belilovsky et al., 2020, arXiv 1901.08164), which keep the width of the features.
 * `mlp`: pool to a quarter of the size, then to 2×2, three fully connected layers with batch norm and ReLU, linear.
 * `mlp-sr`: the same with three 1×1 convolutions with batch norm and ReLU at a quarter of the size. `cnn`: two 3×3
 * convolutions with batch norm and ReLU, pool to 2×2, batch norm, linear. `mlp-sr-large` is the head of MAN++'s code, of one width
 * for all features and some 0.64 M parameters: pool to 8×8, three 1×1 convolutions to 128 and global average pooling,
 * then three fully connected layers of 512, each with batch norm and ReLU, linear.
 */
export function dglHead(name: DglHead, shape: Shape, classes: number): Layer {
  requireShape(shape, "dglHead");
  const [height, width, channels] = shape;
  const features = 4 * channels;
  const quarter = adaptiveAveragePooling(Math.ceil(height / 4), Math.ceil(width / 4));
  const ending = { pool2: adaptiveAveragePooling(2, 2), flatten: flatten() };
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
      throw new LocalgradError(
        `dgl: there is no head ${JSON.stringify(name)}; choose "mlp-sr", "mlp-sr-large", "mlp" or ` +
          `"cnn"`,
      );
  }
}

/** A classifier of InfoPro: A convolutions and B fully connected layers, such as `0c1f`, `1c2f`, `2c2f`; or `imagenet`. */
export type ClassifierName = `${0 | 1 | 2}c${1 | 2 | 3}f` | "imagenet";

/**
 * A classifier of InfoPro (Wang et al., 2021, arXiv 2101.10832), named `AcBf`: A 3×3 convolutions with batch norm and
 * ReLU, of which the first doubles the width and halves the size until the width is 64; global average pooling; B − 1
 * fully connected layers of 128 with ReLU; linear to `outputs`. `0c1f` is pooling and a linear layer. `imagenet`: see {@link imagenetClassifier}.
 */
export function classifier(name: ClassifierName, features: Shape, outputs: number): Layer {
  requireShape(features, "classifier");
  if (name === "imagenet") return imagenetClassifier(features, outputs);
  const [, , channels] = features;
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
    pool: globalAveragePooling(),
    ...(linears === 1 ? {} : { hidden: repeated(linears - 1, hidden) }),
    fc: last,
  });
}

/** Whether images are large enough for the heads made for ImageNet: larger than STL-10's. */
export function isLarge(image: { readonly height: number }): boolean {
  expectObject("an image", image, { height: "number" });
  const { height } = image;
  return height > 96;
}

/**
 * InfoPro's decoder: resizes features to the image's size, bilinearly with aligned corners, and makes an image of them
 * with a 3×3 convolution to 12 channels, batch norm, ReLU, and one to the image's channels. Large images are made in
 * steps, see {@link imagenetDecoder}. Gives logits of the pixels.
 */
export function decoder(
  features: Shape,
  image: { readonly height: number; readonly width: number; readonly channels: number },
): Layer {
  if (isLarge(image)) return imagenetDecoder(features, image);
  return sequential({
    resize: stateless((x) => resizeBilinear(x, [image.height, image.width], { alignCorners: true })),
    conv1: conv({ in: features[2], out: 12, padding: 1, bias: true }),
    bn: batchNorm({ channels: 12 }),
    relu: relu(),
    conv2: conv({ in: 12, out: image.channels, padding: 1, bias: true }),
  });
}
