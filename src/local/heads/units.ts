import { batchNorm } from "../../nn/batch_norm.ts";
import { type Layer, sequential } from "../../nn/layer.ts";
import { conv, type ConvSpec } from "../../nn/conv.ts";
import { linear } from "../../nn/linear.ts";
import { relu } from "../../nn/activation.ts";

/** The width of the hidden layers and of contrastive features in InfoPro's classifiers. */
export const HIDDEN = 128;

/** Makes a convolution with batch norm and ReLU. */
export function convUnit(spec: ConvSpec): Layer {
  return sequential({ conv: conv(spec), bn: batchNorm({ channels: spec.out }), relu: relu() });
}

/** Makes a linear layer with batch norm and ReLU. */
export function linearUnit(inputs: number, out: number): Layer {
  return sequential({
    linear: linear({ in: inputs, out, bias: false }),
    bn: batchNorm({ channels: out }),
    relu: relu(),
  });
}

/** Makes a sequence of `count` layers named 0, 1, …. */
export function repeated(count: number, make: (index: number) => Layer): Layer {
  return sequential(Object.fromEntries(Array.from({ length: count }, (_, i) => [`${i}`, make(i)])));
}
