/**
 * What accompanies training: progress, a run's folder with metrics, checkpoints and a report.
 *
 * @module
 */

export { type Checkpoint, readCheckpoint, type Settings, writeCheckpoint } from "./checkpoint.ts";
export { type EpochLine, type MetricsLine, readMetrics, type StepLine } from "./metrics.ts";
export { progress, type ProgressOutput } from "./progress.ts";
export { report, type RunReport } from "./report.ts";
export { type CheckpointKind, readRun, RunFolder, runFolder } from "./run_folder.ts";
export { decodeSafetensors, encodeSafetensors, type TensorFile } from "./safetensors.ts";
export { loadWeights, saveWeights, type Weights } from "./weights.ts";
