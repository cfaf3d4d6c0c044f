import { relu } from "../nn/activation.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import { conv } from "../nn/conv.ts";
import type { Layer, Layers } from "../nn/layer.ts";
import { maxPooling } from "../nn/pooling.ts";
import { bottleneckBlock, residualBlock } from "../nn/residual.ts";
import type { Block } from "./model.ts";

/** The differences between the ResNets for large images. */
export interface Architecture {
  /** Blocks of each stage. */
  readonly stages: readonly number[];
  /** Makes a block of the stage whose basic blocks have `planes` channels. */
  readonly block: (spec: { in: number; planes: number; stride: number; dilation: number }) => Layer;
  /** Channels of a block's output, as a multiple of `planes`. */
  readonly expansion: number;
}

/** Blocks of two 3×3 convolutions, as in ResNet-18 and ResNet-34, which are never dilated. */
export const basic = {
  block: ({ in: inputs, planes, stride }) => residualBlock({ in: inputs, out: planes, stride }),
  expansion: 1,
} satisfies Partial<Architecture>;

/**
 * Bottleneck blocks whose 3×3 convolution has `groups` groups, of `groupWidth` channels each in the first stage and
 * twice as many in each later one.
 */
export function bottleneck(groups = 1, groupWidth = 64): Pick<Architecture, "block" | "expansion"> {
  return {
    block: ({ in: inputs, planes, stride, dilation }) =>
      bottleneckBlock({
        in: inputs,
        width: groups * groupWidth * planes / 64,
        out: 4 * planes,
        stride,
        groups,
        dilation,
      }),
    expansion: 4,
  };
}

/** The layers of a ResNet for large images before the head. */
export interface Backbone {
  readonly stem: Layers;
  readonly blocks: readonly Block[];
  /** Channels of the last block's output. */
  readonly channels: number;
}

/**
 * The stem and the blocks of a ResNet for large images (He et al., 2015, arXiv 1512.03385, table 1): a 7×7 convolution of
 * stride 2 to 64 channels, 3×3 max pooling of stride 2, and four stages of blocks with 64, 128, 256 and 512 planes, each
 * after the first at half the size, down to `outputStride`. A stage that would go further keeps the size; its convolutions
 * are dilated instead, each by as much as the strides that were left out before it, as in torchvision.
 *
 * @param outputStride The image's size over the features': 32, or 16 or 8 for dense prediction.
 * @param prefix Begins the name of every layer.
 */
export function residualStages(
  { stages, block, expansion }: Architecture,
  { outputStride = 32, prefix = "" }: { outputStride?: number; prefix?: string } = {},
): Backbone {
  const blocks: Block[] = [];
  let channels = 64, reduction = 4, dilation = 1;
  for (const [index, count] of stages.entries()) {
    const planes = 64 * 2 ** index;
    const halves = index > 0 && reduction < outputStride;
    const before = dilation;
    if (halves) reduction *= 2;
    else if (index > 0) dilation *= 2;
    for (let i = 0; i < count; i++) {
      const stride = halves && i === 0 ? 2 : 1;
      const own = i === 0 ? before : dilation; // the first block sees features of the stage before
      const layer = block({ in: channels, planes, stride, dilation: own });
      const from = (channels: number) => block({ in: channels, planes, stride: 2, dilation: 1 });
      blocks.push({ name: `${prefix}layer${index + 1}.${i}`, layer, stage: index + 1, from });
      channels = planes * expansion;
    }
  }
  return {
    stem: {
      [`${prefix}conv1`]: conv({ in: 3, out: 64, window: 7, strides: 2, padding: 3 }),
      [`${prefix}bn1`]: batchNorm({ channels: 64 }),
      [`${prefix}relu`]: relu(),
      [`${prefix}maxpool`]: maxPooling({ window: 3, strides: 2, padding: 1 }),
    },
    blocks,
    channels,
  };
}
