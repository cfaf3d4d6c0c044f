import { batchNorm } from "../nn/batch_norm.ts";
import { conv } from "../nn/conv.ts";
import { linear } from "../nn/linear.ts";
import { relu } from "../nn/activation.ts";
import { globalAveragePooling } from "../nn/pooling.ts";
import { residualBlock } from "../nn/residual.ts";
import type { Block, Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";

/**
 * The ResNet for small images (He et al., 2015, arXiv 1512.03385, section 4.2) of `6 n + 2` layers: a 3×3 stem of 16
 * channels, three stages of `n` basic blocks with 16, 32 and 64 channels, each after the first at half the size, global
 * average pooling and a linear layer. Shortcuts that change the shape are 1×1 convolutions with batch norm. By default
 * images are 32×32 and there are 10 classes; STL-10's images are 96×96.
 */
function resnet(depth: number, options: ModelOptions): Model {
  const { name, input, classes } = described(`resnet${depth}`, options, { classes: 10, size: 32 });
  const blocks: Block[] = [];
  let channels = 16;
  for (const [index, out] of [16, 32, 64].entries()) {
    for (let i = 0; i < (depth - 2) / 6; i++) {
      const stride = out === channels ? 1 : 2;
      const layer = residualBlock({ in: channels, out, stride });
      const from = (channels: number) => residualBlock({ in: channels, out, stride: 2 });
      blocks.push({ name: `layer${index + 1}.${i}`, layer, stage: index + 1, from });
      channels = out;
    }
  }
  return {
    name,
    input,
    classes,
    stem: {
      conv1: conv({ in: 3, out: 16, padding: 1 }),
      bn1: batchNorm({ channels: 16 }),
      relu: relu(),
    },
    blocks,
    head: { pool: globalAveragePooling(), fc: linear({ in: channels, out: classes }) },
  };
}

/** ResNet-8 for small images: 3 blocks, 78,042 parameters with 10 classes. */
export function resnet8(options: ModelOptions = {}): Model {
  return resnet(8, options);
}
/** ResNet-20 for small images: 9 blocks, 272,474 parameters with 10 classes. */
export function resnet20(options: ModelOptions = {}): Model {
  return resnet(20, options);
}
/** ResNet-32 for small images: 15 blocks, 466,906 parameters with 10 classes. */
export function resnet32(options: ModelOptions = {}): Model {
  return resnet(32, options);
}
/** ResNet-44 for small images: 21 blocks, 661,338 parameters with 10 classes. */
export function resnet44(options: ModelOptions = {}): Model {
  return resnet(44, options);
}
/** ResNet-56 for small images: 27 blocks, 855,770 parameters with 10 classes. */
export function resnet56(options: ModelOptions = {}): Model {
  return resnet(56, options);
}
/** ResNet-110 for small images: 54 blocks, 1,730,714 parameters with 10 classes. */
export function resnet110(options: ModelOptions = {}): Model {
  return resnet(110, options);
}
