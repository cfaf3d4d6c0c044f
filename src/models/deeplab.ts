import { LocalgradError } from "../base/errors.ts";
import { relu } from "../nn/activation.ts";
import { atrousPyramid } from "../nn/atrous_pyramid.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import { conv } from "../nn/conv.ts";
import { upsampling } from "../nn/upsampling.ts";
import { IGNORED, type Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";
import { bottleneck, residualStages } from "./residual_stages.ts";

/** Channels of the pyramid's branches, and of the head after it. */
const WIDTH = 256;

/** The blocks of each stage. */
const STAGES = { 50: [3, 4, 6, 3], 101: [3, 4, 23, 3] } as const;

/**
 * DeepLabV3 (Chen et al., 2017, arXiv 1706.05587) on a ResNet: the last stages are dilated rather than strided, and the head
 * `classifier` has an atrous pyramid, a 3×3 convolution with batch norm and ReLU, and a 1×1 convolution to logits, which are
 * resized to the image's size. The pyramid's rates are 12, 24 and 36, or half of those with an output stride of 16.
 * Parameters have torchvision's names and the starting values of this library's layers; the weight of the last convolution
 * starts as small as a linear layer's. There is no auxiliary classifier.
 */
function deeplabv3(
  name: string,
  depth: keyof typeof STAGES,
  outputStride: 8 | 16,
  options: ModelOptions,
): Model {
  const { input, classes } = described(name, options, { classes: 21, size: 512 });
  if (classes > IGNORED) {
    throw new LocalgradError(
      `${name}: ${classes} classes do not fit into a byte for each pixel; there may be ${IGNORED} at most`,
    );
  }
  const { stem, blocks, channels } = residualStages({ stages: STAGES[depth], ...bottleneck() }, {
    outputStride,
    prefix: "backbone.",
  });
  const rates = [12, 24, 36].map((rate) => rate * 8 / outputStride);
  return {
    name,
    input,
    classes,
    task: "segmentation",
    stem,
    blocks,
    head: {
      "classifier.0": atrousPyramid({ in: channels, out: WIDTH, rates }),
      "classifier.1": conv({ in: WIDTH, out: WIDTH, padding: 1 }),
      "classifier.2": batchNorm({ channels: WIDTH }),
      "classifier.3": relu(),
      "classifier.4": conv({ in: WIDTH, out: classes, window: 1, bias: true, std: 1 / Math.sqrt(3 * WIDTH) }),
      upsampling: upsampling({ size: [input.height, input.width] }),
    },
  };
}

/**
 * DeepLabV3 on ResNet-50, to label each pixel of an image, as torchvision has it: features at an eighth of the image's size;
 * 16 blocks, 39,638,869 parameters with 21 classes. Images are 512×512 by default. Training needs batches of at least two.
 *
 * @example
 * ```ts
 * import { local, models } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const model = models.deeplabv3_resnet50({ classes: 19, size: [512, 1024] });
 * assertEquals(model.task, "segmentation");
 * const { modules } = local.partition(model, { after: ["backbone.layer3.2"] });
 * assertEquals(modules.length, 2);
 * ```
 */
export function deeplabv3_resnet50(options: ModelOptions = {}): Model {
  return deeplabv3("deeplabv3_resnet50", 50, 8, options);
}
/** {@link deeplabv3_resnet50} with features at a sixteenth of the image's size: a quarter of them in the third stage. */
export function deeplabv3_resnet50_os16(options: ModelOptions = {}): Model {
  return deeplabv3("deeplabv3_resnet50_os16", 50, 16, options);
}
/**
 * DeepLabV3 on ResNet-101: 33 blocks, 58,630,997 parameters with 21 classes; otherwise as {@link deeplabv3_resnet50}. InfoPro's
 * published cut into two modules is `{ published: "infopro*", modules: 2 }`.
 */
export function deeplabv3_resnet101(options: ModelOptions = {}): Model {
  return deeplabv3("deeplabv3_resnet101", 101, 8, options);
}
/** {@link deeplabv3_resnet101} with features at a sixteenth of the image's size. */
export function deeplabv3_resnet101_os16(options: ModelOptions = {}): Model {
  return deeplabv3("deeplabv3_resnet101_os16", 101, 16, options);
}
