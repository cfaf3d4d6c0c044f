import { LocalgradError } from "../base/errors.ts";
import { conv } from "../nn/conv.ts";
import { constantInitial, normalInitial } from "../nn/initial.ts";
import { type Layer, parameterLayer, stateless } from "../nn/layer.ts";
import { layerNorm } from "../nn/layer_norm.ts";
import { linear } from "../nn/linear.ts";
import { transformerBlock } from "../nn/transformer.ts";
import { concat } from "../trace/functions.ts";
import type { ImageInput, Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";

const BLOCKS = 12;
const EPSILON = 1e-6;

/**
 * The vision transformer (Dosovitskiy et al., 2021, arXiv 2010.11929) of 12 blocks: square parts of the image, embedded by a
 * convolution, a class token before them and a learned embedding of positions, whose number follows from the image's size;
 * then layer normalisation and a linear layer on the class token. Parameters have the names of torchvision's
 * `VisionTransformer`, and start as there with the same variances. By default images are 224×224 and there are 1000 classes.
 */
function vit(name: string, width: number, heads: number, options: ModelOptions): Model {
  const { input, ...facts } = described(name, options, { classes: 1000, size: 224 });
  const part = partOf(name, input);
  const length = input.height * input.width / part ** 2 + 1;
  return {
    ...facts,
    input,
    summary: "first",
    stem: {
      "conv_proj": conv({
        in: input.channels,
        out: width,
        window: part,
        strides: part,
        bias: true,
        std: Math.sqrt(1 / (input.channels * part ** 2)),
      }),
      "class_token": classToken(width),
      "encoder.pos_embedding": parameterLayer(
        normalInitial(0.02, [1, length, width]),
        (positions, x) => x.add(positions.cast(x.dtype)),
      ),
    },
    blocks: Array.from({ length: BLOCKS }, (_, i) => ({
      name: `encoder.layers.encoder_layer_${i}`,
      layer: transformerBlock({ width, heads, epsilon: EPSILON }),
    })),
    head: {
      "encoder.ln": layerNorm({ features: width, epsilon: EPSILON }),
      "token": stateless((x) => x.slice([0, 0, 0], [x.shape[0] ?? 1, 1, width]).reshape(-1, width)),
      "heads.head": linear({ in: width, out: facts.classes, std: 0 }),
    },
  };
}

/** Makes the layer that puts a learned token before those of an image's parts `[batch, rows, columns, width]`. */
function classToken(width: number): Layer {
  return parameterLayer(constantInitial(0, [1, 1, width]), (token, x) => {
    const [batch = 1] = x.shape;
    return concat([token.cast(x.dtype).broadcastTo([batch, 1, width]), x.reshape(batch, -1, width)], 1);
  });
}

/** The side of a part: 16 pixels, or fewer where that leaves fewer than 8 parts on a side, at least 4. */
function partOf(name: string, { height, width }: ImageInput): number {
  const part = [16, 8].find((side) => Math.min(height, width) >= 8 * side) ?? 4;
  if (height % part === 0 && width % part === 0) return part;
  throw new LocalgradError(
    `${name}: an image of ${height}×${width} cannot be divided into parts of ${part}×${part}; resize it to a multiple of ${part}`,
  );
}

/**
 * ViT-Tiny: 12 blocks of width 192 with 3 heads (Touvron et al., 2021, arXiv 2012.12877); 5,717,416 parameters with 1000
 * classes and images of 224×224. Its parts are of 16×16 pixels, of 8×8 below 128 pixels and of 4×4 below 64.
 */
export function vitTiny(options: ModelOptions = {}): Model {
  return vit("vitTiny", 192, 3, options);
}
/** ViT-Small: width 384 with 6 heads, 22,050,664 parameters; see {@link vitTiny}. */
export function vitSmall(options: ModelOptions = {}): Model {
  return vit("vitSmall", 384, 6, options);
}
/** ViT-Base: width 768 with 12 heads, 86,567,656 parameters, torchvision's `vit_b_16`; see {@link vitTiny}. */
export function vitBase(options: ModelOptions = {}): Model {
  return vit("vitBase", 768, 12, options);
}
