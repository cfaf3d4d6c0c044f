import { batchNorm } from "../nn/batch_norm.ts";
import type { Layer } from "../nn/layer.ts";
import { conv } from "../nn/conv.ts";
import { linear } from "../nn/linear.ts";
import { relu } from "../nn/activation.ts";
import { globalAveragePooling, maxPooling } from "../nn/pooling.ts";
import { bottleneckBlock, residualBlock } from "../nn/residual.ts";
import type { Block, Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";

/** The differences between the ResNets for large images. */
interface Architecture {
  readonly name: string;
  /** Blocks of each stage. */
  readonly stages: readonly number[];
  /** Makes a block of the stage whose basic blocks have `planes` channels. */
  readonly block: (spec: { in: number; planes: number; stride: number }) => Layer;
  /** Channels of a block's output, as a multiple of `planes`. */
  readonly expansion: number;
}

/** Blocks of two 3×3 convolutions, as in ResNet-18 and ResNet-34. */
const basic = {
  block: ({ in: inputs, planes, stride }) => residualBlock({ in: inputs, out: planes, stride }),
  expansion: 1,
} satisfies Partial<Architecture>;

/**
 * Bottleneck blocks whose 3×3 convolution has `groups` groups, of `groupWidth` channels each in the first stage and
 * twice as many in each later one.
 */
function bottleneck(groups = 1, groupWidth = 64): Pick<Architecture, "block" | "expansion"> {
  return {
    block: ({ in: inputs, planes, stride }) =>
      bottleneckBlock({
        in: inputs,
        width: groups * groupWidth * planes / 64,
        out: 4 * planes,
        stride,
        groups,
      }),
    expansion: 4,
  };
}

/**
 * The ResNet for large images (He et al., 2015, arXiv 1512.03385, table 1): a 7×7 convolution of stride 2 to 64
 * channels, 3×3 max pooling of stride 2, four stages of blocks with 64, 128, 256 and 512 planes, each after the first at
 * half the size, global average pooling and a linear layer. Shortcuts that change the shape are 1×1 convolutions with
 * batch norm. Parameters have torchvision's names and starting values. By default images are 224×224 and there are 1000
 * classes.
 */
function resnet({ name, stages, block, expansion }: Architecture, options: ModelOptions): Model {
  const { input, classes } = described(name, options, { classes: 1000, size: 224 });
  const blocks: Block[] = [];
  let channels = 64;
  for (const [index, count] of stages.entries()) {
    const planes = 64 * 2 ** index;
    for (let i = 0; i < count; i++) {
      const stride = index > 0 && i === 0 ? 2 : 1;
      const layer = block({ in: channels, planes, stride });
      const from = (channels: number) => block({ in: channels, planes, stride: 2 });
      blocks.push({ name: `layer${index + 1}.${i}`, layer, stage: index + 1, from });
      channels = planes * expansion;
    }
  }
  return {
    name,
    input,
    classes,
    stem: {
      conv1: conv({ in: 3, out: 64, window: 7, strides: 2, padding: 3 }),
      bn1: batchNorm({ channels: 64 }),
      relu: relu(),
      maxpool: maxPooling({ window: 3, strides: 2, padding: 1 }),
    },
    blocks,
    head: { avgpool: globalAveragePooling(), fc: linear({ in: channels, out: classes }) },
  };
}

/** ResNet-18 for large images: 8 basic blocks, 11,689,512 parameters with 1000 classes. */
export function resnet18(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet18", stages: [2, 2, 2, 2], ...basic }, options);
}
/** ResNet-34 for large images: 16 basic blocks, 21,797,672 parameters with 1000 classes. */
export function resnet34(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet34", stages: [3, 4, 6, 3], ...basic }, options);
}
/** ResNet-50 for large images: 16 bottleneck blocks, 25,557,032 parameters with 1000 classes. */
export function resnet50(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet50", stages: [3, 4, 6, 3], ...bottleneck() }, options);
}
/** ResNet-101 for large images: 33 bottleneck blocks, 44,549,160 parameters with 1000 classes. */
export function resnet101(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet101", stages: [3, 4, 23, 3], ...bottleneck() }, options);
}
/** ResNet-152 for large images: 50 bottleneck blocks, 60,192,808 parameters with 1000 classes. */
export function resnet152(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet152", stages: [3, 8, 36, 3], ...bottleneck() }, options);
}
/**
 * ResNeXt-50 32×4d (Xie et al., 2017, arXiv 1611.05431): ResNet-50 whose 3×3 convolutions have 32 groups of at least 4
 * channels; 25,028,904 parameters with 1000 classes.
 */
export function resnext50_32x4d(options: ModelOptions = {}): Model {
  return resnet({ name: "resnext50_32x4d", stages: [3, 4, 6, 3], ...bottleneck(32, 4) }, options);
}
/**
 * ResNeXt-101 32×8d (Xie et al., 2017, arXiv 1611.05431): ResNet-101 whose 3×3 convolutions have 32 groups of at least
 * 8 channels; 88,791,336 parameters with 1000 classes.
 */
export function resnext101_32x8d(options: ModelOptions = {}): Model {
  return resnet({ name: "resnext101_32x8d", stages: [3, 4, 23, 3], ...bottleneck(32, 8) }, options);
}
