import type { Observer } from "../artifacts/observer.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions, expectWhole, shown } from "../base/expect.ts";
import type { Model } from "../models/model.ts";
import { checkObserver } from "./audience.ts";
import { checkData, isImages, type TrainingData } from "./data_kinds.ts";
import { checkEarlyStopping, type EarlyStopping } from "./early_stopping.ts";
import { checkMetrics, type EvaluateOptions } from "./metric.ts";
import type { SaveEvery } from "./run_parts.ts";
import { drawable } from "./samples.ts";
import { expectSignal } from "./signal.ts";

/** Options of `Trainer.fit`. */
export interface FitOptions {
  /** Passes over the training images, or `stepsPerEpoch` batches of a stream, including those done before. */
  epochs: number;
  /** Epochs between evaluations on the test images; the last epoch is always followed by one. Default 1. */
  evaluateEvery?: number;
  /** Observers of the run; default a progress bar on standard error, or lines if that is not a terminal. */
  observers?: readonly Observer[];
  /** Folder for metrics, checkpoints and a report. One that holds a run is refused unless `resume` is set. */
  checkpoint?: string;
  /** Resumes the run in the folder, bit for bit, if there is one; default false. */
  resume?: boolean;
  /**
   * Interval of saving within epochs: `{ steps: 500 }` or `{ minutes: 10 }`. The state is always saved at the start, after
   * each epoch and when the run is stopped.
   */
  saveEvery?: SaveEvery;
  /**
   * Stops the run when its evaluations no longer improve; default never. What it has waited for is saved with the run and
   * resumed. `best.safetensors` holds the state of the lowest test error, of a segmentation that of the highest mean IoU.
   */
  earlyStopping?: EarlyStopping;
  /** Metrics of each evaluation beside the error and the loss, see {@link EvaluateOptions.metrics}; default none. */
  metrics?: EvaluateOptions["metrics"];
  /**
   * The fraction of the training images that is set aside, above 0 and below 1: evaluations are then of these, and the
   * test images, if there are any, stay unseen. They are drawn by the trainer's seed, so that a resumed run has the
   * same, and never augmented. In what `fit` returns and records, test error and loss are those of these images.
   * Default none.
   */
  validation?: number;
  /**
   * The number of test images, or of those set aside, to show in the report of a finished run with what the network takes
   * them for: half of them the most confident errors among the first 1,000, the others recognised ones. Default none.
   */
  samples?: number;
  /** Stops the run after the current step; the state is saved. */
  signal?: AbortSignal;
}

/** Refuses options that are wrong by themselves, and those that do not suit the network or the data set. */
export function checkFitOptions(model: Model, dataset: TrainingData, options: FitOptions): void {
  expectOptions("fit", options, {
    epochs: "number",
    evaluateEvery: "number?",
    observers: "array?",
    checkpoint: "string?",
    resume: "boolean?",
    saveEvery: "object?",
    earlyStopping: "object?",
    metrics: "array?",
    validation: "number?",
    samples: "number?",
    signal: "object?",
  });
  for (const observer of options.observers ?? []) checkObserver("fit: an observer", observer);
  const { epochs, evaluateEvery = 1, saveEvery, earlyStopping, metrics, validation, samples = 0 } = options;
  expectWhole("fit: epochs", epochs);
  expectWhole("fit: evaluateEvery", evaluateEvery);
  expectWhole("fit: samples", samples, 0);
  if (saveEvery !== undefined) checkSaveEvery(saveEvery);
  if (earlyStopping !== undefined) checkEarlyStopping(earlyStopping, model);
  expectSignal("fit", options.signal);
  checkData("fit", model, dataset, dataset?.test === undefined ? ["train"] : ["train", "test"]);
  if (validation !== undefined && !(validation > 0 && validation < 1)) {
    throw new LocalgradError(`fit: validation must be above 0 and below 1, not ${shown(validation)}`);
  }
  const pictures = isImages(dataset) ? dataset : undefined;
  if (samples > 0 && (pictures === undefined || !drawable(pictures.channels))) {
    const has = pictures !== undefined
      ? `those of ${pictures.channels} channels`
      : "task" in dataset
      ? "a label for each pixel"
      : "none in bytes";
    throw new LocalgradError(
      `fit: samples shows images of 1 or 3 channels; ${dataset.name} has ${has}; leave it out`,
    );
  }
  const evaluates = validation !== undefined || dataset.test !== undefined;
  if (!evaluates && earlyStopping !== undefined) {
    throw new LocalgradError(
      `fit: earlyStopping needs evaluations, but ${dataset.name} has no test part; give validation: 0.1`,
    );
  }
  checkMetrics("fit", metrics, model);
}

/** Refuses an interval that is not a whole number of steps, or a number of minutes. */
function checkSaveEvery(saveEvery: SaveEvery): void {
  const given: { steps?: number; minutes?: number } = saveEvery;
  expectOptions("fit: saveEvery", given, { steps: "number?", minutes: "number?" });
  if ("steps" in saveEvery) expectWhole("fit: saveEvery.steps", saveEvery.steps);
  else expectBetween("fit: saveEvery.minutes", saveEvery.minutes, 0);
}
