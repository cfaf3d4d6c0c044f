import { relu } from "../nn/activation.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import { conv } from "../nn/conv.ts";
import { dropout } from "../nn/dropout.ts";
import { flatten } from "../nn/flatten.ts";
import { type Layer, layer, type Layers, sequential } from "../nn/layer.ts";
import { linear } from "../nn/linear.ts";
import { adaptiveAveragePooling, globalAveragePooling, maxPooling } from "../nn/pooling.ts";
import { maxPool } from "../trace/functions.ts";
import type { Block, ImageInput, Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";

/** Channels of each stage's convolutions. */
const WIDTHS = [64, 128, 256, 512, 512] as const;

/**
 * VGG (Simonyan and Zisserman, 2015, arXiv 1409.1556, table 1): five stages of 3×3 convolutions with ReLU, each with 2×2
 * max pooling at its end; those whose names end in `_bn` normalise the batch before ReLU. A block is a convolution, with
 * the batch norm and the pooling after it. For images of more than 96 pixels on both sides the head is torchvision's:
 * pooling to 7×7 and three linear layers of 4096, 4096 and the classes, with dropout; for smaller ones, which end at fewer
 * pixels, global average pooling and one linear layer, as is usual for CIFAR. Parameters have torchvision's names. By
 * default images are 224×224 and there are 1000 classes.
 */
function vgg(variant: string, counts: readonly number[], options: ModelOptions): Model {
  const { name, input, classes } = described(`vgg${variant}`, options, { classes: 1000, size: 224 });
  const norm = variant.endsWith("_bn");
  const blocks: Block[] = [];
  let inputs = input.channels, place = 0;
  for (const [stage, out] of WIDTHS.entries()) {
    const count = counts[stage] ?? 0;
    for (let i = 0; i < count; i++) {
      const pooled = i === count - 1, at = place;
      const make = norm ? (spec: Spec) => normalised(at, spec) : convolution;
      blocks.push({
        name: norm ? `features.${at}+${at + 1}` : `features.${at}`,
        layer: make({ in: inputs, out, pooled }),
        stage: stage + 1,
        from: (channels) => make({ in: channels, out, pooled: true }),
      });
      inputs = out;
      place += 2 + Number(norm) + Number(pooled); // a convolution, ReLU, and perhaps batch norm and pooling
    }
  }
  return { name, input, classes, stem: {}, blocks, head: head(input, inputs, classes) };
}

interface Spec {
  readonly in: number;
  readonly out: number;
  readonly pooled: boolean;
}

/** A 3×3 convolution. */
function plain({ in: inputs, out }: Spec): Layer {
  return conv({ in: inputs, out, padding: 1, bias: true, std: Math.sqrt(2 / (9 * out)) });
}

/** A convolution with batch norm, ReLU and perhaps pooling: the layers at `place` and after it. */
function normalised(place: number, spec: Spec): Layer {
  return sequential({
    [place]: plain(spec),
    [place + 1]: batchNorm({ channels: spec.out }),
    relu: relu(),
    ...(spec.pooled ? { pool: maxPooling({ window: 2 }) } : {}),
  });
}

/** A convolution with ReLU and perhaps pooling; its parameters are those of the convolution. */
function convolution(spec: Spec): Layer {
  const { pooled } = spec;
  const inner = plain(spec);
  return layer({
    params: inner.params,
    apply(params, state, x, mode) {
      const y = inner.apply(params, {}, x, mode).y.relu();
      return { y: pooled ? maxPool(y, { window: 2 }) : y, state };
    },
  });
}

function head({ height, width }: ImageInput, channels: number, classes: number): Layers {
  if (Math.min(height, width) <= 96) {
    return { avgpool: globalAveragePooling(), classifier: linear({ in: channels, out: classes }) };
  }
  return {
    "avgpool": adaptiveAveragePooling(7, 7),
    "flatten": flatten(),
    "classifier.0": linear({ in: 49 * channels, out: 4096, std: 0.01 }),
    "classifier.1": relu(),
    "classifier.2": dropout(),
    "classifier.3": linear({ in: 4096, out: 4096, std: 0.01 }),
    "classifier.4": relu(),
    "classifier.5": dropout(),
    "classifier.6": linear({ in: 4096, out: classes, std: 0.01 }),
  };
}

/** VGG-11: 8 convolutions, 132,863,336 parameters with 1000 classes. */
export function vgg11(options: ModelOptions = {}): Model {
  return vgg("11", [1, 1, 2, 2, 2], options);
}
/** VGG-13: 10 convolutions, 133,047,848 parameters with 1000 classes. */
export function vgg13(options: ModelOptions = {}): Model {
  return vgg("13", [2, 2, 2, 2, 2], options);
}
/** VGG-16: 13 convolutions, 138,357,544 parameters with 1000 classes. */
export function vgg16(options: ModelOptions = {}): Model {
  return vgg("16", [2, 2, 3, 3, 3], options);
}
/** VGG-19: 16 convolutions, 143,667,240 parameters with 1000 classes. */
export function vgg19(options: ModelOptions = {}): Model {
  return vgg("19", [2, 2, 4, 4, 4], options);
}
/** VGG-11 with batch norm: 8 convolutions, 132,868,840 parameters with 1000 classes. */
export function vgg11_bn(options: ModelOptions = {}): Model {
  return vgg("11_bn", [1, 1, 2, 2, 2], options);
}
/** VGG-13 with batch norm: 10 convolutions, 133,053,736 parameters with 1000 classes. */
export function vgg13_bn(options: ModelOptions = {}): Model {
  return vgg("13_bn", [2, 2, 2, 2, 2], options);
}
/** VGG-16 with batch norm: 13 convolutions, 138,365,992 parameters with 1000 classes. */
export function vgg16_bn(options: ModelOptions = {}): Model {
  return vgg("16_bn", [2, 2, 3, 3, 3], options);
}
/** VGG-19 with batch norm: 16 convolutions, 143,678,248 parameters with 1000 classes. */
export function vgg19_bn(options: ModelOptions = {}): Model {
  return vgg("19_bn", [2, 2, 4, 4, 4], options);
}
