/**
 * Networks as data: name, stem, blocks, head.
 *
 * @module
 */

export * from "./model.ts";
export * from "./resnet.ts";
