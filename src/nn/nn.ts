/**
 * Layers: what is learned, what is carried along, and what is computed, as plain data and functions.
 *
 * @module
 */

export * from "./layer.ts";
export * from "./named.ts";
export * from "./initial.ts";
export * from "./linear.ts";
export * from "./batch_norm.ts";
export * from "./pooling.ts";
export * from "./residual.ts";
