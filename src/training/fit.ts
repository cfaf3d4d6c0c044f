import type { Configuration, Observer } from "../artifacts/observer.ts";
import { progress } from "../artifacts/progress.ts";
import { holdsRun, readRun, runFolder } from "../artifacts/run_folder.ts";
import { abridged } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions, expectWhole, shown } from "../base/expect.ts";
import type { Key } from "../base/random.ts";
import { readsInputs } from "../local/step_reads.ts";
import { checkObserver } from "./audience.ts";
import {
  checkData,
  isImages,
  isStream,
  openLabels,
  openPart,
  signatureIn,
  type TrainingData,
} from "./data_kinds.ts";
import { checkEarlyStopping, type EarlyStopping } from "./early_stopping.ts";
import { atOnce, type Evaluation, Evaluator } from "./evaluate.ts";
import { bytesIn, type Feed } from "./feeds/feed.ts";
import { checkMetrics, type EvaluateOptions } from "./metric.ts";
import { Run } from "./run.ts";
import type { SaveEvery } from "./run_parts.ts";
import { drawable, sample } from "./samples.ts";
import { type Split, splitOf, subset } from "./feeds/split.ts";
import { expectSignal } from "./signal.ts";
import { streamFeed } from "./feeds/stream_feed.ts";
import type { Position, Trainable } from "./trainable.ts";
import type { Team } from "./processes/team.ts";
import { shuffled, type TrainingFeed } from "./feeds/training_feed.ts";

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

/** Result of `Trainer.fit`. */
export interface FitResult {
  /** True if the signal stopped the run. */
  readonly stopped: boolean;
  /** True if early stopping ended the run. */
  readonly stoppedEarly: boolean;
  /** The last evaluation; undefined if there was none. */
  readonly last?: Evaluation;
  /** The lowest test error of the run, see {@link Evaluation.error}. */
  readonly bestError?: number;
  /** The highest mean IoU of the run, of a segmentation. */
  readonly bestMeanIoU?: number;
}

/** See `Trainer.fit`. */
export async function fit(
  trainer: Trainable,
  position: Position,
  team: Team,
  dataset: TrainingData,
  options: FitOptions,
): Promise<FitResult> {
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
  const { epochs, evaluateEvery = 1, saveEvery, earlyStopping, metrics = [], signal } = options;
  expectWhole("fit: epochs", epochs);
  expectWhole("fit: evaluateEvery", evaluateEvery);
  const { validation, samples = 0 } = options;
  expectWhole("fit: samples", samples, 0);
  if (saveEvery !== undefined) checkSaveEvery(saveEvery);
  const { device, batch, setup: { model } } = trainer;
  if (earlyStopping !== undefined) checkEarlyStopping(earlyStopping, model);
  expectSignal("fit", signal);
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
  const { seed } = position;
  const split = splitIn(seed, dataset, validation);
  refuseOneImage(dataset, split, batch);
  team.agreeOn("fit: option", {
    ...{ epochs, evaluateEvery, saveEvery, earlyStopping, validation, samples },
    ...{ data: dataset.name, classes: dataset.classes, metrics: metrics.map(nameOf) },
    ...{ resume: options.resume, checkpoint: options.checkpoint !== undefined },
  });
  const kept = await keeper(trainer, team, options, dataset.classes);
  const observers = team.isFirst ? [...(options.observers ?? [progress()]), ...kept] : [];
  refuseLostStream(dataset, position);
  position.signature = signatureIn(model, dataset);
  position.classNames = dataset.classes;
  // Several processes stop after the same step, so none may end its batches early.
  const own = team.size === 1 ? signal : undefined;
  await using opened = openTraining(trainer, team, seed, dataset, split, own);
  const { training } = opened;
  team.agreeOn("fit: the", {
    // Not their values: a snapshot is the same for all, and so is a file.
    "number of steps done": position.step,
    "use of load()": position.loaded,
    "number of images": training.imagesPerEpoch,
    "number of steps": training.stepsPerEpoch,
    "learning rate": ratesOf(trainer.schedule, epochs, training.stepsPerEpoch),
  });
  await using testing = split !== undefined || dataset.test === undefined
    ? undefined
    : openPart(device, model, dataset, "test");
  using stepper = trainer.stepper(training);
  const evaluated = opened.validation ?? testing;
  using evaluator = evaluated &&
    new Evaluator(trainer.setup, evaluated, atOnce(trainer.setup, batch), { metrics }, team);
  const run = new Run({
    trainer,
    position,
    team,
    stepper,
    evaluator,
    observers,
    feed: training,
    epochs,
    evaluateEvery,
    saveEvery,
    earlyStopping,
    signal,
    dataset: dataset.name,
    classNames: dataset.classes,
    validationImages: split?.validation.length,
    dataBytes: bytesIn(training) + (testing === undefined ? 0 : bytesIn(testing)),
  });
  try {
    const done = await run.train();
    if (done && samples > 0 && evaluated !== undefined && pictures !== undefined) {
      const of = split === undefined ? "test" : "validation";
      const { setup } = trainer;
      const request = {
        device,
        setup,
        feed: evaluated,
        batch: atOnce(setup, batch),
        signature: pictures,
        of,
        count: samples,
      } as const;
      await run.show(() => sample(request, trainer.network()));
    }
    await run.end(done ? "done" : "stopped");
    run.raise();
    const { last } = run, { bestError, bestMeanIoU } = position;
    return {
      stopped: !done,
      stoppedEarly: run.stoppedEarly,
      ...(last === undefined ? {} : { last }),
      ...(bestError === undefined ? {} : { bestError }),
      ...(bestMeanIoU === undefined ? {} : { bestMeanIoU }),
    };
  } finally {
    await run.end("failed"); // no effect on a run that has ended
  }
}

/** Opens what a run trains on, with the images set aside. */
function openTraining(
  { device, batch, setup }: Trainable,
  { division }: Team,
  seed: Key,
  dataset: TrainingData,
  split: Split | undefined,
  signal: AbortSignal | undefined,
): AsyncDisposable & { readonly training: TrainingFeed; readonly validation?: Feed } {
  const { model } = setup;
  if (isStream(dataset)) {
    const nothing = { [Symbol.asyncDispose]: () => Promise.resolve() };
    return { training: streamFeed(dataset, model, batch, signal), ...nothing };
  }
  // Those set aside are evaluated by all processes.
  const all = split !== undefined || readsInputs(division?.own ?? setup, batch)
    ? openPart(device, model, dataset, "train")
    : openLabels(device, dataset);
  const own = { [Symbol.asyncDispose]: () => all[Symbol.asyncDispose]() };
  if (split === undefined) return { training: shuffled(all, seed, batch), ...own };
  const training = shuffled(subset(all, split.training), seed, batch);
  return { training, validation: subset(all, split.validation), ...own };
}

/** The images set aside, if any are; a stream has none that could be. */
function splitIn(seed: Key, dataset: TrainingData, validation: number | undefined): Split | undefined {
  if (validation === undefined) return undefined;
  if (!isStream(dataset)) return splitOf(seed, dataset.train.count, validation);
  throw new LocalgradError(
    `fit: validation sets training images aside, which the stream ${dataset.name} does not have; give it a test part`,
  );
}

function refuseOneImage(dataset: TrainingData, split: Split | undefined, batch: number): void {
  if (isStream(dataset) || batch === 1 || (split?.training.length ?? dataset.train.count) > 1) return;
  throw new LocalgradError(`fit: ${dataset.name} has one training image; batch norm needs at least two`);
}

/** Refuses to resume a stream that cannot be asked for a batch again. */
function refuseLostStream(dataset: TrainingData, { restored, step }: Position): void {
  if (!isStream(dataset) || typeof dataset.batches === "function" || !restored || step === 0) return;
  throw new LocalgradError(
    `fit: ${dataset.name} is one stream, which cannot be asked for step ${step} again; to resume, give batches as a ` +
      "function of the epoch",
  );
}

function nameOf(metric: NonNullable<FitOptions["metrics"]>[number]): string {
  return typeof metric === "string" ? metric : metric.name;
}

/** A few learning rates of a schedule, to compare it by. */
function ratesOf(schedule: Trainable["schedule"], epochs: number, stepsPerEpoch: number): number[] {
  const last = epochs - 1;
  const some = [...new Set([0, 1, Math.floor(last / 2), last])].filter((epoch) => epoch <= last);
  return some.map((epoch) =>
    schedule(epoch, { step: epoch * stepsPerEpoch + stepsPerEpoch - 1, stepsPerEpoch })
  );
}

/** Parts of a configuration that it has only if they are asked for: a run may not be resumed without them. */
const OPTIONAL = ["loss", "average", "accumulate", "batchNorm"] as const;

/**
 * The observer that keeps the run in a folder, if one is named. Resuming restores the trainer from the folder first. Only
 * process 0 looks at the folder.
 */
async function keeper(
  trainer: Trainable,
  team: Team,
  { checkpoint, resume = false, validation }: FitOptions,
  classNames: readonly string[] | undefined,
): Promise<Observer[]> {
  if (checkpoint === undefined) {
    if (resume) {
      throw new LocalgradError("fit: resume needs the folder of a run; give it as checkpoint");
    }
    return [];
  }
  const folder = runFolder(checkpoint, {
    ...(classNames === undefined ? {} : { classNames }),
    ...(validation === undefined ? {} : { validation }),
  });
  const holds = await team.fromFirst(async () => {
    if (resume && await holdsRun(checkpoint)) return true;
    await folder.refuseUsed();
    return false;
  });
  if (!holds) return [folder];
  const { snapshot, settings } = await readRun(checkpoint, "last", { processes: team.processes });
  // Runs of earlier versions do not name their task: all were classifications.
  const before: Configuration = {
    task: "classification",
    ...snapshot.configuration,
    classNames,
    ...settings,
  };
  const current: Configuration = { ...trainer.configuration, classNames, validation };
  for (const name of new Set([...Object.keys(current), ...OPTIONAL])) {
    const then = JSON.stringify(before[name]) ?? "left out"; // undefined has no JSON
    const now = JSON.stringify(current[name]) ?? "left out";
    if (then === now) continue;
    throw new LocalgradError(
      `fit: the run in ${checkpoint} has ${name} ${abridged(then)}, not ${abridged(now)}; ` +
        `resume with the trainer and images of that run, or choose another folder`,
    );
  }
  trainer.restore(snapshot);
  return [folder];
}

/** Refuses an interval that is not a whole number of steps, or a number of minutes. */
function checkSaveEvery(saveEvery: SaveEvery): void {
  const given: { steps?: number; minutes?: number } = saveEvery;
  expectOptions("fit: saveEvery", given, { steps: "number?", minutes: "number?" });
  if ("steps" in saveEvery) expectWhole("fit: saveEvery.steps", saveEvery.steps);
  else expectBetween("fit: saveEvery.minutes", saveEvery.minutes, 0);
}
