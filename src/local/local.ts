/**
 * Supervised local learning: networks cut into gradient-isolated modules, each trained by a loss of its own.
 *
 * @module
 */

export * from "./partition.ts";
export * from "./method.ts";
export * from "./methods.ts";
export * from "./named_methods.ts";
export * from "./heads.ts";
export * from "./imagenet_heads.ts";
export * from "./losses.ts";
export * from "./step.ts";
export * from "./memory.ts";
export { balanced, type BalanceOptions, withCut } from "./balance.ts";
export * from "./parameters.ts";
export * from "./probe.ts";
export * from "./trainer.ts";
export * from "./observer.ts";
export type { Feed } from "./feed.ts";
export type { FitOptions, FitResult } from "./fit.ts";
export type { SaveEvery } from "./run.ts";
export type { Evaluation } from "./evaluate.ts";
export type { LoadOptions, NetworkValues } from "./weights.ts";
export type { TermWeights, WeightSchedule, WeightsName } from "./infopro_weights.ts";
export { type SplitName, splitNames } from "./published.ts";
export type { AverageOptions } from "./momentum_auxiliary.ts";
