import { resolve } from "node:path";
import { LocalgradError } from "../base/errors.ts";
import { keysOf } from "../base/keys.ts";
import { bytesOfSize } from "../base/size.ts";
import type { Precision } from "../compile/plan.ts";
import * as local from "../local.ts";
import * as models from "../models.ts";
import { augmentFlags, augmentFrom, type AugmentSettings } from "./flags/augment.ts";
import { type Cut, cutFlags, cutFrom } from "./cut.ts";
import { DATASETS, type SetName } from "./datasets.ts";
import { type Flags, type Given, oneOf, partOf, positiveNumber, wholeNumber } from "./flags/flags.ts";
import { type ImageSize, imageSizeFrom } from "./flags/image_size.ts";
import { lossFlags, type LossSettings, lossSettingsFrom } from "./flags/loss.ts";
import { type GivenOptions, methodFlags, optionsFrom } from "./flags/method.ts";
import { metricsFlag, metricsFrom } from "./flags/metric.ts";
import { defaultRate, optimizerFlags, optimizerFrom, type OptimizerSettings } from "./flags/optimizer.ts";
import { type placeFlags, precisionFrom } from "./flags/place.ts";
import { rateFlags, type RateSettings, ratesFrom, stoppingFrom } from "./flags/rate.ts";
import { saveEveryFlag, saveEveryFrom } from "./flags/save_every.ts";

/** The name of a network on the command line. */
export type ModelName = models.ModelName;
/** The name of a method on the command line. */
export type MethodName = local.MethodName;

/** The names of all data sets. */
export const datasetNames = keysOf(DATASETS);
/** Over what batch norm may take its statistics. */
export const batchNorms = ["share", "synchronised"] as const satisfies readonly local.BatchNormStatistics[];

/** The settings that define a run, but not its device or folder: JSON, saved in its checkpoints. */
export interface Settings {
  readonly dataset: SetName;
  /** Number of classes, if the folders of the data set define it. */
  readonly classes?: number;
  /** Their names, in the order of labels; not in runs of earlier versions. */
  readonly classNames?: readonly string[];
  /** Rows and columns of an image, if chosen: one number where they are equal, or `HxW`. */
  readonly imageSize?: ImageSize;
  readonly model: ModelName;
  readonly modules: Cut;
  /** Over what batch norm takes its statistics where processes share a batch; undefined for `share`. */
  readonly batchNorm?: local.BatchNormStatistics;
  /** Recompute cheap results in the backward pass? */
  readonly recompute?: boolean;
  /** The most bytes that a step may need, as planned, if there is a limit. */
  readonly memoryLimit?: number;
  readonly method: MethodName;
  /** Options of the method from flags, if any. */
  readonly methodOptions?: GivenOptions;
  /** The optimizer and what goes around it, as far as it is not the published SGD alone. */
  readonly optimizer?: OptimizerSettings;
  /** The loss, if it is not plain cross-entropy. */
  readonly loss?: LossSettings;
  /** Augmentation of training images, if it is not the data set's own. */
  readonly augment?: AugmentSettings;
  readonly batch: number;
  readonly epochs: number;
  /** Epochs between evaluations; undefined for 1. */
  readonly evalEvery?: number;
  /** The share of training images set aside, if any. */
  readonly validation?: number;
  /** Metrics beside the error and the loss; undefined for the default. */
  readonly metrics?: readonly local.MetricName[];
  /** Interval of checkpoints within an epoch, if any. */
  readonly saveEvery?: local.SaveEvery;
  /** Epochs over which the learning rate decays; undefined for all. */
  readonly scheduleEpochs?: number;
  readonly lr: number;
  /** The learning rate over time, if it is not the published one. */
  readonly rates?: RateSettings;
  /** When to stop early, if at all. */
  readonly earlyStopping?: local.EarlyStopping;
  readonly seed: number;
  /** Precision of the computation; undefined for the default of the device. */
  readonly precision?: Precision;
  readonly trainLimit?: number;
  readonly testLimit?: number;
  /** Absolute path of the data set, for evaluating and resuming the run. */
  readonly data?: string;
}

/** Methods that do not wrap another one. */
const alone = local.methodNames.filter((name) => !/^(man(PlusPlus)?|sgr|hpff|contSup)\+/.test(name));

/** Flags that define the network and the method; of `train` and `memory`. */
export const networkFlags = {
  dataset: { value: datasetNames.join("|"), help: "data set; default shapes, which needs no download" },
  "image-size": {
    value: "N|HxW",
    help:
      "folder: images are resized and cropped to N×N, or to H×W (512x1024), at random in training, else at the " +
      "centre; default 224, label-maps 512, scenes 64",
  },
  model: { value: models.modelNames.join("|"), help: "network; default resnet8" },
  ...cutFlags,
  method: {
    value: "NAME",
    help: `method that trains the modules: ${alone.join(", ")}; or a local one wrapped, as man+NAME or ` +
      "manPlusPlus+NAME; or either of these, as sgr+NAME, contSup+NAME or hpff+NAME; default man+dgl",
  },
  ...methodFlags,
  ...optimizerFlags,
  ...lossFlags,
  batch: {
    value: "N",
    help:
      "images per step; with --memory-limit also several, to choose from; default 128, label-maps 8, scenes 16",
  },
  "batch-norm": {
    value: batchNorms.join("|"),
    help:
      "with --parallel data, statistics of batch norm: of each process's share, or of the whole batch; default share",
  },
  recompute: {
    help:
      "recompute batch norms and ReLUs in the backward pass if that lowers the peak; the results are bit-identical",
  },
  "memory-limit": {
    value: "SIZE",
    help:
      "the most memory that a step, as planned, and the data set may need, of each process: 512MiB, 2GiB, 80GB. What other flags leave open is chosen for " +
      "the least predicted time: what to recompute; the cut, without --modules, --after and --split; one of --method A,B,… and of --batch 64,128,…; --accumulate auto",
  },
} as const satisfies Flags;

/** Flags that define training. */
export const trainingFlags = {
  ...networkFlags,
  ...augmentFlags,
  epochs: { value: "N", help: "passes over the training images; default 10" },
  "eval-every": {
    value: "N",
    help: "evaluate on the test images after every N epochs and the last; default 1",
  },
  validation: {
    value: "SHARE",
    help: "set this share of the training images aside, and evaluate on those until the end; default none",
  },
  metrics: metricsFlag,
  "save-every": saveEveryFlag,
  "schedule-epochs": {
    value: "N",
    help: "epochs over which the learning rate decays; later ones keep the last rate; default --epochs",
  },
  "train-limit": { value: "N", help: "use the first N training images" },
  "test-limit": { value: "N", help: "use the first N test images" },
  lr: {
    value: "RATE",
    help: "peak learning rate; default for sgd the published one, scaled with the batch; " +
      "adamw 0.001, lamb 0.005, lion 0.0001, muon 0.001",
  },
  ...rateFlags,
  seed: { value: "N", help: "seed of all random numbers; default 0" },
} as const satisfies Flags;

/** Reads settings from flags; absent ones are taken from `before`, or have their defaults. */
export function settingsFrom(
  given: Given<typeof trainingFlags & Pick<typeof placeFlags, "data" | "precision">>,
  before?: Settings,
): Settings {
  const number = (
    name:
      | "batch"
      | "epochs"
      | "seed"
      | `${string}-limit` & keyof typeof trainingFlags
      | "eval-every"
      | "schedule-epochs",
    least: number,
  ) => given[name] === undefined ? undefined : wholeNumber(name, given[name], least);
  const trainLimit = number("train-limit", 1) ?? before?.trainLimit;
  const testLimit = number("test-limit", 1) ?? before?.testLimit;
  const evalEvery = number("eval-every", 1) ?? before?.evalEvery;
  const scheduleEpochs = number("schedule-epochs", 1) ?? before?.scheduleEpochs;
  const validation = given.validation === undefined
    ? before?.validation
    : partOf("validation", given.validation);
  const metrics = given.metrics === undefined ? before?.metrics : metricsFrom(given.metrics);
  const saveEvery = given["save-every"] === undefined
    ? before?.saveEvery
    : saveEveryFrom(given["save-every"]);
  const { precision } = { ...before, ...precisionFrom(given) };
  const path = given.data === undefined ? before?.data : resolve(given.data);
  const dataset = given.dataset === undefined
    ? before?.dataset ?? "shapes"
    : oneOf("dataset", given.dataset, datasetNames);
  const { size, task, recipe } = DATASETS[dataset];
  const batch = number("batch", 1) ?? before?.batch ?? (task === undefined ? 128 : recipe.batch);
  const batchNorm = given["batch-norm"] === undefined
    ? before?.batchNorm
    : oneOf("batch-norm", given["batch-norm"], batchNorms);
  const memoryLimit = given["memory-limit"] === undefined
    ? before?.memoryLimit
    : bytesOfSize("--memory-limit", given["memory-limit"]);
  const imageSize = given["image-size"] === undefined
    ? before?.imageSize
    : imageSizeFrom(given["image-size"]);
  const methodOptions = { ...before?.methodOptions, ...optionsFrom(given) };
  const optimizer = { ...before?.optimizer, ...optimizerFrom(given) };
  const loss = { ...before?.loss, ...lossSettingsFrom(given) };
  const augment = given.augment === undefined ? before?.augment : augmentFrom(given.augment);
  const rates = { ...before?.rates, ...ratesFrom(given) };
  const earlyStopping = stoppingFrom(given, before?.earlyStopping);
  if (size !== undefined && imageSize !== undefined) {
    throw new LocalgradError(
      `--image-size applies to folders and tables of images; images of ${dataset} are ${size}×${size}`,
    );
  }
  return {
    dataset,
    model: given.model === undefined
      ? before?.model ?? "resnet8"
      : oneOf("model", given.model, models.modelNames),
    modules: cutFrom(given) ?? before?.modules ?? 3,
    method: given.method === undefined
      ? before?.method ?? "man+dgl"
      : oneOf("method", given.method, local.methodNames),
    ...(Object.keys(methodOptions).length === 0 ? {} : { methodOptions }),
    ...(Object.keys(optimizer).length === 0 ? {} : { optimizer }),
    ...(Object.keys(loss).length === 0 ? {} : { loss }),
    ...(augment === undefined ? {} : { augment }),
    batch,
    epochs: number("epochs", 1) ?? before?.epochs ?? 10,
    lr: given.lr === undefined
      ? before?.lr ?? rateFor({ dataset, optimizer }, batch)
      : positiveNumber("lr", given.lr),
    ...(Object.keys(rates).length === 0 ? {} : { rates }),
    ...(earlyStopping === undefined ? {} : { earlyStopping }),
    seed: number("seed", 0) ?? before?.seed ?? 0,
    ...(evalEvery === undefined ? {} : { evalEvery }),
    ...(validation === undefined ? {} : { validation }),
    ...(metrics === undefined ? {} : { metrics }),
    ...(saveEvery === undefined ? {} : { saveEvery }),
    ...(scheduleEpochs === undefined ? {} : { scheduleEpochs }),
    ...(trainLimit === undefined ? {} : { trainLimit }),
    ...(testLimit === undefined ? {} : { testLimit }),
    ...(precision === undefined ? {} : { precision }),
    ...(batchNorm === undefined ? {} : { batchNorm }),
    ...(given.recompute || before?.recompute ? { recompute: true } : {}),
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
    ...(path === undefined ? {} : { data: path }),
    ...(imageSize === undefined ? {} : { imageSize }),
    ...(before?.classes === undefined ? {} : { classes: before.classes }), // last, the order in which withClasses() adds them
    ...(before?.classNames === undefined ? {} : { classNames: before.classNames }),
  };
}

/** The peak learning rate by default: the published one, scaled with the batch, or the optimizer's own. */
export function rateFor(
  { dataset, optimizer = {} }: Pick<Settings, "dataset" | "optimizer">,
  batch: number,
): number {
  const { recipe } = DATASETS[dataset];
  return defaultRate(optimizer) ?? recipe.lr * batch / recipe.batch;
}
