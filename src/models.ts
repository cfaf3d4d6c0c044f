/**
 * Networks as data: name, stem, blocks and head.
 *
 * @module
 */

export {
  type Block,
  IGNORED,
  type ImageInput,
  layersOf,
  type Model,
  network,
  type Summary,
  type Task,
  type VectorInput,
} from "./models/model.ts";
export type { Context } from "./models/context.ts";
export * from "./models/mlp.ts";
export * from "./models/language_model.ts";
export * from "./models/options.ts";
export * from "./models/networks.ts";
export * from "./models/named.ts";
