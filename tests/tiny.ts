import type { ImageDataset, LabelledImages } from "../src/data/images.ts";
import type { Model } from "../src/models/model.ts";
import { atrousPyramid } from "../src/nn/atrous_pyramid.ts";
import { batchNorm } from "../src/nn/batch_norm.ts";
import { conv } from "../src/nn/conv.ts";
import { flatten } from "../src/nn/flatten.ts";
import { normalInitial } from "../src/nn/initial.ts";
import { parameterLayer, sequential, stateless } from "../src/nn/layer.ts";
import { linear } from "../src/nn/linear.ts";
import { relu } from "../src/nn/activation.ts";
import { globalAveragePooling } from "../src/nn/pooling.ts";
import { residualBlock } from "../src/nn/residual.ts";
import { transformerBlock } from "../src/nn/transformer.ts";
import { upsampling } from "../src/nn/upsampling.ts";
import { concat } from "../src/trace/functions.ts";

/** A residual network of three blocks for 8×8 images, small enough for float64 loops in a test. */
export function tinyModel(classes = 3): Model {
  return {
    name: "tiny",
    input: { height: 8, width: 8, channels: 3 },
    classes,
    stem: { conv1: conv({ in: 3, out: 4, padding: 1 }), bn1: batchNorm({ channels: 4 }), relu: relu() },
    blocks: [
      { name: "layer1.0", layer: residualBlock({ in: 4, out: 4 }), stage: 1 },
      { name: "layer1.1", layer: residualBlock({ in: 4, out: 4 }), stage: 1 },
      { name: "layer2.0", layer: residualBlock({ in: 4, out: 8, stride: 2 }), stage: 2 },
    ],
    head: { pool: globalAveragePooling(), fc: linear({ in: 8, out: classes }) },
  };
}

/** Images with one dominant colour per class, and noise: easy to classify. */
export function tinyDataset(train: number, test: number): ImageDataset {
  return {
    name: "colours",
    classes: ["red", "green", "blue"],
    height: 8,
    width: 8,
    channels: 3,
    mean: [0.4, 0.4, 0.4],
    std: [0.25, 0.25, 0.25],
    train: colours(train, 1),
    test: colours(test, 2),
  };
}

function colours(count: number, seed: number): LabelledImages {
  let state = seed;
  const random = () => (state = Math.imul(state, 1664525) + 1013904223 | 0) >>> 24;
  const labels = Int32Array.from({ length: count }, (_, i) => (i + seed) % 3);
  const images = new Uint8Array(count * 8 * 8 * 3);
  for (let i = 0; i < images.length; i++) {
    const label = labels[Math.floor(i / (8 * 8 * 3))];
    images[i] = (random() >> 1) + (i % 3 === label ? 100 : 0);
  }
  return { images, labels, count };
}

/** A vision transformer of five blocks for 8×8 images, with a class token, small enough for float64 loops in a test. */
export function tinyVit(classes = 3): Model {
  const width = 6;
  return {
    name: "tinyVit",
    input: { height: 8, width: 8, channels: 3 },
    classes,
    summary: "first",
    stem: {
      conv_proj: conv({ in: 3, out: width, window: 4, strides: 4, bias: true }),
      class_token: parameterLayer(normalInitial(1, [1, 1, width]), (token, x) => {
        const [batch = 1] = x.shape;
        return concat([token.cast(x.dtype).broadcastTo([batch, 1, width]), x.reshape(batch, -1, width)], 1);
      }),
    },
    blocks: Array.from({ length: 5 }, (_, i) => ({
      name: `layers.${i}`,
      layer: transformerBlock({ width, heads: 2, hidden: 8 }),
    })),
    head: {
      token: stateless((x) => x.slice([0, 0, 0], [x.shape[0] ?? 1, 1, width]).reshape(-1, width)),
      fc: linear({ in: width, out: classes }),
    },
  };
}

/** An MLP of five hidden layers for 8×8 images. */
export function tinyImageMlp(classes = 3): Model {
  return {
    name: "tinyImageMlp",
    input: { height: 8, width: 8, channels: 3 },
    classes,
    stem: { flatten: flatten() },
    blocks: [12, 12, 8, 8, 8].map((out, i) => ({
      name: `hidden.${i}`,
      layer: sequential({ linear: linear({ in: [192, 12, 12, 8, 8][i] ?? 8, out }), relu: relu() }),
    })),
    head: { fc: linear({ in: 8, out: classes }) },
  };
}

/** A dilated network of four blocks that labels the pixels of 16×16 images, small enough for float64 loops in a test. */
export function tinySegmenter(classes = 4): Model {
  const block = (inputs: number, out: number, options: { strides?: number; dilation?: number } = {}) => {
    const { dilation = 1 } = options;
    return sequential({
      conv: conv({ in: inputs, out, padding: dilation, ...options }),
      bn: batchNorm({ channels: out }),
      relu: relu(),
    });
  };
  return {
    name: "tinySegmenter",
    input: { height: 16, width: 16, channels: 3 },
    classes,
    task: "segmentation",
    stem: {},
    blocks: [
      { name: "layer1.0", layer: block(3, 8), stage: 1 },
      { name: "layer2.0", layer: block(8, 8, { strides: 2 }), stage: 2 },
      { name: "layer2.1", layer: block(8, 8, { dilation: 2 }), stage: 2 },
      { name: "layer2.2", layer: block(8, 8, { dilation: 2 }), stage: 2 },
    ],
    head: {
      pyramid: atrousPyramid({ in: 8, out: 8, rates: [2, 4], dropout: 0 }),
      classifier: conv({ in: 8, out: classes, window: 1, bias: true }),
      upsampling: upsampling({ size: 16 }),
    },
  };
}
