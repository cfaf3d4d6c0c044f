import { progress } from "../artifacts/progress.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Key } from "../base/random.ts";
import { readsInputs } from "../local/step_reads.ts";
import { isImages, isStream, openLabels, openPart, signatureIn, type TrainingData } from "./data_kinds.ts";
import { atOnce, type Evaluation, Evaluator } from "./evaluate.ts";
import { bytesIn, type Feed } from "./feeds/feed.ts";
import { checkFitOptions, type FitOptions } from "./fit_options.ts";
import { keeper } from "./keeper.ts";
import { Run } from "./run.ts";
import { sample } from "./samples.ts";
import { type Split, splitOf, subset } from "./feeds/split.ts";
import { streamFeed } from "./feeds/stream_feed.ts";
import type { Position, Trainable } from "./trainable.ts";
import type { Team } from "./processes/team.ts";
import { shuffled, type TrainingFeed } from "./feeds/training_feed.ts";

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
  const { device, batch, setup: { model } } = trainer;
  checkFitOptions(model, dataset, options);
  const { epochs, evaluateEvery = 1, saveEvery, earlyStopping, metrics = [], signal } = options;
  const { validation, samples = 0 } = options;
  const pictures = isImages(dataset) ? dataset : undefined;
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
