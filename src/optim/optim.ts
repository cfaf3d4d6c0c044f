/**
 * Optimizers and learning-rate schedules.
 *
 * @module
 */

export * from "./optimizer.ts";
export * from "./sgd.ts";
export * from "./adamw.ts";
export * from "./schedules.ts";
