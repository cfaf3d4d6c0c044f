/**
 * Optimizers and learning-rate schedules.
 *
 * @module
 */

export * from "./optim/optimizer.ts";
export * from "./optim/sgd.ts";
export * from "./optim/adamw.ts";
export * from "./optim/schedules.ts";
