import { gelu } from "../nn/activation.ts";
import { conv } from "../nn/conv.ts";
import { stochasticDepth } from "../nn/dropout.ts";
import { constantInitial } from "../nn/initial.ts";
import { type Layer, layer, sequential } from "../nn/layer.ts";
import { layerNorm } from "../nn/layer_norm.ts";
import { linear } from "../nn/linear.ts";
import { select } from "../nn/named.ts";
import { globalAveragePooling } from "../nn/pooling.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { Block, Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";

/** Blocks and channels of each stage. */
const STAGES = [[3, 96], [3, 192], [9, 384], [3, 768]] as const;

const BLOCKS = STAGES.reduce((sum, [count]) => sum + count, 0);
/** The share of images for which the last block is skipped. */
const SKIPPED = 0.1;

const EPSILON = 1e-6;
/** Standard deviation of starting weights. */
const STD = 0.02;

/**
 * ConvNeXt-Tiny (Liu et al., 2022, arXiv 2201.03545): 18 blocks in four stages, and before each stage but the first a block
 * that halves the size; 28,589,128 parameters with 1000 classes. Parameters have torchvision's names. A block is
 * skipped for an image with a probability that grows from 0 at the first block to 0.1 at the last (stochastic depth). By default images are 224×224 and there are 1000 classes.
 */
export function convnextTiny(options: ModelOptions = {}): Model {
  const { name, input, classes } = described("convnextTiny", options, { classes: 1000, size: 224 });
  const blocks: Block[] = [];
  let channels: number = STAGES[0][1], before = 0;
  for (const [index, [count, width]] of STAGES.entries()) {
    const stage = index + 1;
    if (index > 0) {
      const from = (channels: number) => halving(channels, width);
      blocks.push({ name: `features.${2 * index}`, layer: from(channels), stage, from });
    }
    for (let i = 0; i < count; i++) {
      const rate = SKIPPED * before / (BLOCKS - 1);
      blocks.push({
        name: `features.${2 * index + 1}.${i}`,
        layer: convnextBlock(width, rate),
        stage,
        from: (channels) =>
          sequential({ halving: halving(channels, width), block: convnextBlock(width, rate) }),
      });
      before++;
    }
    channels = width;
  }
  const first = STAGES[0][1];
  return {
    name,
    input,
    classes,
    stem: {
      "features.0.0": conv({ in: input.channels, out: first, window: 4, strides: 4, bias: true, std: STD }),
      "features.0.1": layerNorm({ features: first, epsilon: EPSILON }),
    },
    blocks,
    head: {
      "avgpool": globalAveragePooling(),
      "classifier.0": layerNorm({ features: channels, epsilon: EPSILON }),
      "classifier.2": linear({ in: channels, out: classes, std: STD }),
    },
  };
}

/** Layer normalisation of each pixel, and a 2×2 convolution of stride 2. */
function halving(inputs: number, out: number): Layer {
  return sequential({
    0: layerNorm({ features: inputs, epsilon: EPSILON }),
    1: conv({ in: inputs, out, window: 2, strides: 2, bias: true, std: STD }),
  });
}

/**
 * A depthwise 7×7 convolution, layer normalisation, two linear layers of each pixel with GELU between them, and a learned
 * scale of each channel, which starts at 10⁻⁶; added to the input for a share 1 − `rate` of the images.
 */
function convnextBlock(width: number, rate: number): Layer {
  const layers = sequential({
    "block.0": conv({ in: width, out: width, window: 7, padding: 3, groups: width, bias: true, std: STD }),
    "block.2": layerNorm({ features: width, epsilon: EPSILON }),
    "block.3": linear({ in: width, out: 4 * width, std: STD }),
    "block.4": gelu(),
    "block.5": linear({ in: 4 * width, out: width, std: STD }),
  });
  const scaled = layer({
    params: { layer_scale: constantInitial(1e-6, [width, 1, 1]), ...layers.params },
    apply(params, state, x, mode) {
      const { y } = layers.apply(select<Tensor>(params, layers.params), {}, x, mode);
      return { y: y.mul(params.layer_scale.reshape(width).cast(x.dtype)), state };
    },
  });
  const branch = stochasticDepth({ layer: scaled, rate });
  return layer({
    params: branch.params,
    random: true,
    apply: (params, state, x, mode, key) => ({
      y: x.add(branch.apply(params, {}, x, mode, key).y),
      state,
    }),
  });
}
