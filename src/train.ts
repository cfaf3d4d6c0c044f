/**
 * Artifacts of a run: its folder with metrics and checkpoints, its progress, its report and its weights.
 *
 * @module
 */

export { type Checkpoint, readCheckpoint, type Settings, writeCheckpoint } from "./artifacts/checkpoint.ts";
export * from "./artifacts/comparison.ts";
export { comparisonPage } from "./artifacts/comparison_page.ts";
export { type EpochLine, type MetricsLine, readMetrics, type StepLine } from "./artifacts/metrics.ts";
export * from "./artifacts/progress.ts";
export { report, type ReportOptions, type RunReport } from "./artifacts/report.ts";
export type { NetworkFacts } from "./artifacts/network_values.ts";
export { type CheckpointKind, readRun, RunFolder, runFolder } from "./artifacts/run_folder.ts";
export type { Sample, Samples } from "./artifacts/samples.ts";
export { readReport } from "./artifacts/run_record.ts";
export { decodeSafetensors, encodeSafetensors, type TensorFile } from "./artifacts/safetensors.ts";
export { tensorBoard } from "./artifacts/tensorboard.ts";
export { loadWeights, saveWeights, type Weights } from "./artifacts/weights.ts";
