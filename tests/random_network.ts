import type { Block, Model } from "../src/models/model.ts";
import { relu } from "../src/nn/activation.ts";
import { batchNorm } from "../src/nn/batch_norm.ts";
import { conv } from "../src/nn/conv.ts";
import { flatten } from "../src/nn/flatten.ts";
import { type Layer, type Layers, sequential, shapeAfter } from "../src/nn/layer.ts";
import { linear } from "../src/nn/linear.ts";
import { averagePooling, globalAveragePooling, maxPooling } from "../src/nn/pooling.ts";
import { residualBlock } from "../src/nn/residual.ts";
import type { Shape } from "../src/trace/dtype.ts";
import type { Random } from "./fuzz/random.ts";

/**
 * A random network of three to six blocks: convolutions with batch norm or bias, residual blocks, some at half the size,
 * poolings, and at the end sometimes linear blocks.
 */
export function randomNetwork(random: Random): Model {
  const classes = 2 + random.below(4);
  const input = { height: 6 + random.below(11), width: 6 + random.below(11), channels: 1 + random.below(3) };
  const blocks: Block[] = [];
  let shape: Shape = [input.height, input.width, input.channels];
  const add = (layer: Layer) => {
    blocks.push({ name: `block.${blocks.length}`, layer });
    shape = shapeAfter(layer, shape);
  };
  const stem = random.percent(60) ? convolution(random, input.channels, width(random)) : {};
  shape = shapeAfter(sequential(stem), shape);
  const count = 3 + random.below(4);
  const images = random.percent(70) ? count : 1 + random.below(count);
  while (blocks.length < images) add(sequential(imageBlock(random, shape)));
  if (blocks.length < count) add(sequential({ flatten: flatten(), ...linearBlock(random, sizeOf(shape)) }));
  while (blocks.length < count) add(sequential(linearBlock(random, sizeOf(shape))));
  const pool = shape.length === 1 ? {} : { pool: globalAveragePooling() };
  const head = { ...pool, fc: linear({ in: shape.at(-1) ?? 1, out: classes }) };
  return { name: "random", input, classes, stem, blocks, head };
}

const width = (random: Random) => random.pick([3, 4, 8, 8, 12]);

const sizeOf = (shape: Shape) => shape.reduce((size, extent) => size * extent, 1);

function convolution(random: Random, from: number, out: number, strides = 1): Layers {
  const window = random.pick([1, 3, 3, 3]), padding = (window - 1) / 2;
  const normalised = random.percent(70);
  return {
    conv: conv({ in: from, out, window, padding, strides, bias: !normalised }),
    ...(normalised ? { bn: batchNorm({ channels: out }) } : {}),
    relu: relu(),
  };
}

function imageBlock(random: Random, [height = 1, columns = 1, channels = 1]: Shape): Layers {
  const out = random.percent(50) ? channels : width(random);
  const isLarge = Math.min(height, columns) >= 4;
  const stride = isLarge && random.percent(25) ? 2 : 1;
  if (random.percent(45)) return { block: residualBlock({ in: channels, out, stride }) };
  const pooling = random.pick([maxPooling, averagePooling])({ window: 2 });
  return {
    ...convolution(random, channels, out, stride),
    ...(isLarge && stride === 1 && random.percent(40) ? { pooling } : {}),
  };
}

function linearBlock(random: Random, from: number): Layers {
  return { linear: linear({ in: from, out: 4 + random.below(20) }), relu: relu() };
}
