import { relu } from "../nn/activation.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import { conv } from "../nn/conv.ts";
import { type Layer, layer, sequential } from "../nn/layer.ts";
import { linear } from "../nn/linear.ts";
import { averagePooling, globalAveragePooling, maxPooling } from "../nn/pooling.ts";
import { concat } from "../trace/functions.ts";
import type { Block, Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";

/** Dense layers of each stage. */
const STAGES = [6, 12, 24, 16] as const;
/** Channels that a dense layer adds, and that it has between its convolutions. */
const GROWTH = 32, BOTTLENECK = 4 * GROWTH;

/**
 * DenseNet-121 (Huang et al., 2017, arXiv 1608.06993, table 1): 58 dense layers in four stages, each of which adds 32
 * channels to all that came before; between stages a transition halves channels and size. Every dense layer, every
 * transition and the last batch norm is a block. 7,978,856 parameters with 1000 classes; they have torchvision's names.
 * By default images are 224×224 and there are 1000 classes.
 */
export function densenet121(options: ModelOptions = {}): Model {
  const { name, input, classes } = described("densenet121", options, { classes: 1000, size: 224 });
  const blocks: Block[] = [];
  let channels = 2 * GROWTH;
  for (const [index, count] of STAGES.entries()) {
    const stage = index + 1;
    for (let i = 1; i <= count; i++) {
      blocks.push({ name: `features.denseblock${stage}.denselayer${i}`, layer: denseLayer(channels), stage });
      channels += GROWTH;
    }
    if (index === STAGES.length - 1) break;
    blocks.push({
      name: `features.transition${stage}`,
      layer: sequential({
        norm: batchNorm({ channels }),
        relu: relu(),
        conv: convolution(channels, channels / 2, 1),
        pool: averagePooling({ window: 2 }),
      }),
      stage,
    });
    channels /= 2;
  }
  blocks.push({ name: "features.norm5", layer: normalised(channels), stage: STAGES.length });
  return {
    name,
    input,
    classes,
    stem: {
      "features.conv0": conv({
        ...{ in: input.channels, out: 2 * GROWTH, window: 7, strides: 2, padding: 3 },
        std: Math.sqrt(2 / (49 * input.channels)),
      }),
      "features.norm0": batchNorm({ channels: 2 * GROWTH }),
      "features.relu0": relu(),
      "features.pool0": maxPooling({ window: 3, strides: 2, padding: 1 }),
    },
    blocks,
    head: { pool: globalAveragePooling(), classifier: linear({ in: channels, out: classes }) },
  };
}

/** A convolution whose start keeps the variance of its inputs (He et al., 2015, by the number of inputs). */
function convolution(inputs: number, out: number, window: number): Layer {
  return conv({
    in: inputs,
    out,
    window,
    padding: (window - 1) / 2,
    std: Math.sqrt(2 / (window ** 2 * inputs)),
  });
}

/** Batch norm and ReLU; its parameters are those of the batch norm. */
function normalised(channels: number): Layer {
  const norm = batchNorm({ channels });
  return layer({
    params: norm.params,
    state: norm.state,
    apply(params, state, x, mode) {
      const { y, state: next } = norm.apply(params, state, x, mode);
      return { y: y.relu(), state: next };
    },
  });
}

/** A 1×1 and a 3×3 convolution, each after batch norm and ReLU, whose result is joined to the input. */
function denseLayer(inputs: number): Layer {
  const branch = sequential({
    norm1: batchNorm({ channels: inputs }),
    relu1: relu(),
    conv1: convolution(inputs, BOTTLENECK, 1),
    norm2: batchNorm({ channels: BOTTLENECK }),
    relu2: relu(),
    conv2: convolution(BOTTLENECK, GROWTH, 3),
  });
  return layer({
    params: branch.params,
    state: branch.state,
    apply(params, state, x, mode) {
      const { y, state: next } = branch.apply(params, state, x, mode);
      return { y: concat([x, y], 3), state: next };
    },
  });
}
