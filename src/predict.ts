/**
 * Predictions of trained networks: from a run, a file, or a trainer.
 *
 * @module
 */

export * from "./data/decoder.ts";
export { load, type PredictorOptions } from "./predict/load.ts";
export * from "./predict/prediction.ts";
export type { LabelMap } from "./predict/label_map.ts";
export type { Picture, Pictures } from "./predict/inputs.ts";
export * from "./predict/predictor.ts";
