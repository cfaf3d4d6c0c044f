/**
 * Predictions of trained networks: from a run, a file, or a trainer.
 *
 * @module
 */

export type { PictureDecoder } from "./data/decoder.ts";
export { load, type PredictorOptions } from "./predict/load.ts";
export type { Prediction, Ranked } from "./predict/prediction.ts";
export {
  type FilePrediction,
  type NetworkVariables,
  type Picture,
  type Pictures,
  type PredictOptions,
  Predictor,
  type PredictorParts,
} from "./predict/predictor.ts";
