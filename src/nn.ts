/**
 * Layers: parameters, state and the function they compute, as plain data and functions.
 *
 * @module
 */

export {
  type Applied,
  type Layer,
  layer,
  type Layers,
  type Mode,
  parameterLayer,
  sequential,
  shapeAfter,
  stateless,
  type Valued,
} from "./nn/layer.ts";
export * from "./nn/named.ts";
export * from "./nn/initial.ts";
export { linear, type LinearSpec } from "./nn/linear.ts";
export * from "./nn/conv.ts";
export * from "./nn/conv_transpose.ts";
export * from "./nn/batch_norm.ts";
export * from "./nn/layer_norm.ts";
export * from "./nn/pooling.ts";
export * from "./nn/upsampling.ts";
export * from "./nn/atrous_pyramid.ts";
export * from "./nn/activation.ts";
export { flatten, type FlattenOptions } from "./nn/flatten.ts";
export * from "./nn/residual.ts";
export * from "./nn/squeeze_excitation.ts";
export * from "./nn/dropout.ts";
export * from "./nn/embedding.ts";
export * from "./nn/attention.ts";
export * from "./nn/transformer.ts";
