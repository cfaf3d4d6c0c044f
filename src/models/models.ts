/**
 * Networks as data: name, stem, blocks, head.
 *
 * @module
 */

export * from "./model.ts";
export * from "./options.ts";
export * from "./networks.ts";
export * from "./named.ts";
