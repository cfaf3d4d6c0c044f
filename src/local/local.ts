/**
 * Supervised local learning: networks cut into gradient-isolated modules, each trained by a loss of its own.
 *
 * @module
 */

export * from "./partition.ts";
export * from "./method.ts";
export * from "./greedy.ts";
export * from "./dgl.ts";
export * from "./infopro.ts";
export * from "./man.ts";
export * from "./heads.ts";
export * from "./losses.ts";
export * from "./step.ts";
export * from "./memory.ts";
export * from "./trainer.ts";
export * from "./observer.ts";
export type { Feed } from "./feed.ts";
export type { FitOptions, FitResult } from "./fit.ts";
export type { Evaluation } from "./evaluate.ts";
export type { LoadOptions, NetworkValues } from "./weights.ts";
export type { TermWeights } from "./published.ts";
