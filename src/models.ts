/**
 * Networks as data: name, stem, blocks and head.
 *
 * @module
 */

export { type Block, layersOf, type Model, network } from "./models/model.ts";
export * from "./models/options.ts";
export * from "./models/networks.ts";
export * from "./models/named.ts";
