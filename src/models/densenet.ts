import { relu } from "../nn/activation.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import { conv } from "../nn/conv.ts";
import { type Layer, layer, type Layers, sequential } from "../nn/layer.ts";
import { linear } from "../nn/linear.ts";
import { averagePooling, globalAveragePooling, maxPooling } from "../nn/pooling.ts";
import { concat } from "../trace/functions.ts";
import type { Block, Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";

/** What tells DenseNets apart. */
interface Sizes {
  /** Dense layers of each stage. */
  readonly stages: readonly number[];
  /** Channels that a dense layer adds; between its convolutions it has four times as many. */
  readonly growth: number;
  /** Before the stages: a 7×7 convolution with stride 2 and max pooling, instead of a 3×3 convolution. */
  readonly large: boolean;
}

/**
 * With bottlenecks, and transitions that halve the channels ("BC"). Every dense layer, every transition and the last batch norm,
 * which torchvision calls `norm5` after any number of stages, is a block.
 */
function densenet(
  { name, input, classes }: ReturnType<typeof described>,
  { stages, growth, large }: Sizes,
): Model {
  const blocks: Block[] = [];
  const first = 2 * growth;
  let channels = first;
  for (const [index, count] of stages.entries()) {
    const stage = index + 1;
    for (let i = 1; i <= count; i++) {
      const name = `features.denseblock${stage}.denselayer${i}`;
      blocks.push({ name, layer: denseLayer(channels, growth), stage });
      channels += growth;
    }
    if (index === stages.length - 1) break;
    const halved = Math.floor(channels / 2);
    blocks.push({
      name: `features.transition${stage}`,
      layer: sequential({
        norm: batchNorm({ channels }),
        relu: relu(),
        conv: convolution(channels, halved, 1),
        pool: averagePooling({ window: 2 }),
      }),
      stage,
    });
    channels = halved;
  }
  blocks.push({ name: "features.norm5", layer: normalised(channels), stage: stages.length });
  const std = (window: number) => Math.sqrt(2 / (window ** 2 * input.channels));
  const stem: Layers = large
    ? {
      "features.conv0": conv({
        in: input.channels,
        out: first,
        window: 7,
        strides: 2,
        padding: 3,
        std: std(7),
      }),
      "features.norm0": batchNorm({ channels: first }),
      "features.relu0": relu(),
      "features.pool0": maxPooling({ window: 3, strides: 2, padding: 1 }),
    }
    : { "features.conv0": conv({ in: input.channels, out: first, padding: 1, std: std(3) }) };
  const head = { pool: globalAveragePooling(), classifier: linear({ in: channels, out: classes }) };
  return { name, input, classes, stem, blocks, head };
}

/**
 * DenseNet-121 (Huang et al., 2017, arXiv 1608.06993, table 1): 58 dense layers in four stages, each of which adds 32
 * channels to all that came before; between stages a transition halves channels and size. Every dense layer, every
 * transition and the last batch norm is a block. 7,978,856 parameters with 1000 classes; they have torchvision's names.
 * By default images are 224×224 and there are 1000 classes.
 */
export function densenet121(options: ModelOptions = {}): Model {
  const facts = described("densenet121", options, { classes: 1000, size: 224 });
  return densenet(facts, { stages: [6, 12, 24, 16], growth: 32, large: true });
}

/**
 * DenseNet-BC of depth 100 with growth rate 12 (Huang et al., 2017, table 2), which InfoPro cuts into 2 to 16 modules: 48
 * dense layers in three stages after a 3×3 convolution, and blocks as in {@link densenet121}. 769,162 parameters with 10
 * classes. By default images are 32×32 and there are 10 classes.
 */
export function densenetBc100(options: ModelOptions = {}): Model {
  const facts = described("densenetBc100", options, { classes: 10, size: 32 });
  return densenet(facts, { stages: [16, 16, 16], growth: 12, large: false });
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
function denseLayer(inputs: number, growth: number): Layer {
  const branch = sequential({
    norm1: batchNorm({ channels: inputs }),
    relu1: relu(),
    conv1: convolution(inputs, 4 * growth, 1),
    norm2: batchNorm({ channels: 4 * growth }),
    relu2: relu(),
    conv2: convolution(4 * growth, growth, 3),
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
