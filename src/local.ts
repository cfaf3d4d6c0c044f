/**
 * Supervised local learning: networks cut into gradient-isolated modules, each trained by its own local loss.
 *
 * @module
 */

export * from "./local/partition/partition.ts";
export {
  type Auxiliary,
  type Batch,
  type Boundary,
  type Cascade,
  classified,
  type Following,
  type Given,
  type Method,
  type TrainingBatch,
  type Variables,
} from "./local/method.ts";
export * from "./local/methods/methods.ts";
export * from "./local/methods/named.ts";
export * from "./local/heads/heads.ts";
export { classifierFor, dglHeadFor } from "./local/heads/pixel_heads.ts";
export * from "./local/heads/imagenet_heads.ts";
export * from "./local/losses.ts";
export {
  crossEntropyLoss,
  type CrossEntropyOptions,
  type Loss,
  type LossFunction,
  squaredErrorLoss,
} from "./local/loss.ts";
export {
  type BatchNormStatistics,
  equipModule,
  lastModule,
  type LocalModule,
  type Setup,
  setup,
  type SetupOptions,
  type TrainState,
} from "./local/setup.ts";
export * from "./local/step.ts";
export * from "./local/memory.ts";
export { stepScalars, type WeightAverage } from "./local/average.ts";
export { balanced, type BalanceOptions, type CutOptions, withCut } from "./local/partition/balance.ts";
export { type TrainingPlan, type WayWithinLimit, withinLimit } from "./local/limit/limit.ts";
export type { LimitOptions } from "./local/limit/options.ts";
export type { PlannedWay, Way } from "./local/limit/way.ts";
export * from "./local/parameters.ts";
export type { BlockExchange, Part } from "./local/processes/exchange.ts";
export { type Layout, layoutOf, type Parallel, type Place } from "./local/processes/layout.ts";
export type { Exchange, Tracked } from "./local/processes/exchange.ts";
export type { Share } from "./local/processes/shares.ts";
export type { SharedBatch } from "./nn/shared_batch.ts";
export { type Speeds, type StepTime, stepTime, TYPICAL } from "./local/step_time.ts";
export * from "./training/probe/probe.ts";
export * from "./training/trainer.ts";
export * from "./artifacts/observer.ts";
export type { RunDevice } from "./artifacts/run_devices.ts";
export type { BatchMaker, BatchRequest, Feed, SuppliedBatch } from "./training/feeds/feed.ts";
export type { EarlyStopping } from "./training/early_stopping.ts";
export type { TrainingData, TrainingImages, TrainingPixels } from "./training/data_kinds.ts";
export type { FitResult } from "./training/fit.ts";
export type { FitOptions } from "./training/fit_options.ts";
export type { HostBatch, StepReport } from "./training/host_batch.ts";
export type { SaveEvery } from "./training/run_parts.ts";
export type { Stepper } from "./training/trainable.ts";
export type { Staleness } from "./training/processes/stale_blocks.ts";
export type { TrainerOptions } from "./training/trainer_options.ts";
export type { Evaluation } from "./training/evaluate.ts";
export {
  type ClassScore,
  type EvaluateOptions,
  type Metric,
  type MetricName,
  metricNames,
} from "./training/metric.ts";
export type { LoadOptions, NetworkValues } from "./artifacts/network_values.ts";
export type { TermWeights, WeightSchedule, WeightsName } from "./local/methods/infopro_weights.ts";
export { type SplitName, splitNames } from "./local/partition/published.ts";
export type { AverageOptions } from "./local/methods/block_average.ts";
export type { CascadeOptions } from "./local/methods/cascaded.ts";
export type { LookAheadOptions } from "./local/methods/look_ahead.ts";
