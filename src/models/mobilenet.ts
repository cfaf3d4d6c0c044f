import { relu6 } from "../nn/activation.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import { conv } from "../nn/conv.ts";
import { dropout } from "../nn/dropout.ts";
import { type Layer, layer, type Layers, sequential } from "../nn/layer.ts";
import { linear } from "../nn/linear.ts";
import { globalAveragePooling } from "../nn/pooling.ts";
import type { Block, Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";

/** Expansion, channels, blocks and first stride of each group of blocks (Sandler et al., 2018, table 2). */
const GROUPS = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

/** Channels after the last block. */
const LAST = 1280;

/**
 * MobileNet V2 (Sandler et al., 2018, arXiv 1801.04381): 17 inverted residual blocks and a 1×1 convolution to 1280 channels,
 * dropout of 0.2 before the classifier; 3,504,872 parameters with 1000 classes. Parameters have torchvision's names. By default images are 224×224 and there are
 * 1000 classes.
 */
export function mobilenetV2(options: ModelOptions = {}): Model {
  const { name, input, classes } = described("mobilenetV2", options, { classes: 1000, size: 224 });
  const blocks: Block[] = [];
  let channels = 32, stage = 1;
  for (const [expansion, out, count, first] of GROUPS) {
    stage += first - 1;
    for (let i = 0; i < count; i++) {
      const spec = { in: channels, out, stride: i === 0 ? first : 1, expansion };
      blocks.push({
        name: `features.${blocks.length + 1}`,
        layer: invertedResidual(spec),
        stage,
        from: (channels) => invertedResidual({ ...spec, in: channels, stride: 2 }),
      });
      channels = out;
    }
  }
  const last = unit({ in: channels, out: LAST, window: 1 });
  blocks.push({
    name: `features.${blocks.length + 1}`,
    layer: last,
    stage,
    from: (channels) => unit({ in: channels, out: LAST, window: 1, strides: 2 }),
  });
  return {
    name,
    input,
    classes,
    stem: { "features.0": unit({ in: input.channels, out: 32, strides: 2, padding: 1 }) },
    blocks,
    head: {
      "pool": globalAveragePooling(),
      "classifier.0": dropout({ rate: 0.2 }),
      "classifier.1": linear({ in: LAST, out: classes, std: 0.01 }),
    },
  };
}

/** A convolution with batch norm and ReLU6. */
function unit(spec: Parameters<typeof conv>[0]): Layer {
  return sequential({ 0: conv(spec), 1: batchNorm({ channels: spec.out }), 2: relu6() });
}

/**
 * A 1×1 convolution that multiplies the channels, a depthwise 3×3 one, and a 1×1 one to `out` without an activation; the
 * input is added if the shape is the same.
 */
function invertedResidual(
  { in: inputs, out, stride, expansion }: { in: number; out: number; stride: number; expansion: number },
): Layer {
  const hidden = expansion * inputs;
  const parts: Layer[] = [
    ...(expansion === 1 ? [] : [unit({ in: inputs, out: hidden, window: 1 })]),
    unit({ in: hidden, out: hidden, strides: stride, padding: 1, groups: hidden }),
    conv({ in: hidden, out, window: 1 }),
    batchNorm({ channels: out }),
  ];
  const named: Layers = Object.fromEntries(parts.map((part, i) => [`conv.${i}`, part]));
  const branch = sequential(named);
  if (stride !== 1 || inputs !== out) return branch;
  return layer({
    params: branch.params,
    state: branch.state,
    apply(params, state, x, mode) {
      const { y, state: next } = branch.apply(params, state, x, mode);
      return { y: x.add(y), state: next };
    },
  });
}
