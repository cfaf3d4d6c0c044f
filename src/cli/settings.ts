import { resolve } from "node:path";
import { LocalgradError } from "../base/errors.ts";
import type { Precision } from "../compile/plan.ts";
import { type DatasetName, DATASETS } from "../data/datasets.ts";
import * as local from "../local.ts";
import * as models from "../models.ts";
import type { DeviceName } from "../runtime/devices.ts";
import { type Cut, cutFlags, cutFrom } from "./cut.ts";
import { type Flag, type Flags, type Given, oneOf, positiveNumber, wholeNumber } from "./flags.ts";
import { type GivenOptions, methodFlags, optionsFrom } from "./method_flags.ts";

/** A network's name on the command line. */
export type ModelName = models.ModelName;
/** A method's name on the command line. */
export type MethodName = local.MethodName;

/** The names of all data sets. */
export const datasetNames = Object.keys(DATASETS) as DatasetName[];
/** The names of devices that flags take. */
export const deviceNames = [
  "auto",
  "cuda",
  "webgpu",
  "cpu",
  "reference",
] as const satisfies readonly DeviceName[];

/** What can be computed in. */
export const precisions = ["f32", "tf32", "bf16"] as const satisfies readonly Precision[];

/** What a run is, apart from where it runs and is kept: JSON, written into its checkpoints. */
export interface Settings {
  readonly dataset: DatasetName;
  /** Classes, where the data set's own folder says how many. */
  readonly classes?: number;
  /** Their names, in the order of their labels; runs of earlier versions do not say them. */
  readonly classNames?: readonly string[];
  /** Rows and columns of an image, where they were chosen. */
  readonly imageSize?: number;
  readonly model: ModelName;
  readonly modules: Cut;
  /** Whether cheap results are computed again in the backward pass. */
  readonly recompute?: boolean;
  readonly method: MethodName;
  /** What the method was given by flags, where anything was. */
  readonly methodOptions?: GivenOptions;
  readonly batch: number;
  readonly epochs: number;
  /** Epochs from one evaluation to the next, where that is not each. */
  readonly evalEvery?: number;
  /** How often it is saved within an epoch, where it is. */
  readonly saveEvery?: local.SaveEvery;
  /** Epochs over which the learning rate falls, where those are not all. */
  readonly scheduleEpochs?: number;
  readonly lr: number;
  readonly seed: number;
  /** What it is computed in, where that is not the device's own choice. */
  readonly precision?: Precision;
  readonly trainLimit?: number;
  readonly testLimit?: number;
  /** Where the data set was loaded from, as an absolute path, so that the run can be judged and gone on with. */
  readonly data?: string;
}

/** Methods that do not go in front of another one. */
const alone = local.methodNames.filter((name) => !/^man(PlusPlus)?\+/.test(name));

/** Flags that say what is trained; `memory` has them too. */
export const networkFlags = {
  dataset: { value: datasetNames.join("|"), help: "the images; default shapes, which needs no download" },
  "image-size": { value: "N", help: "folder: rows and columns of an image; default 224" },
  model: { value: models.modelNames.join("|"), help: "the network; default resnet8" },
  ...cutFlags,
  method: {
    value: "NAME",
    help:
      `what trains the modules; default man+dgl. ${alone.join(", ")}; and man+NAME and manPlusPlus+NAME ` +
      "of those, endToEnd apart",
  },
  ...methodFlags,
  batch: { value: "N", help: "images of a step; default 128" },
  recompute: {
    help:
      "compute batch norms and ReLUs again in the backward pass, where that lowers the peak; the same bits",
  },
} as const satisfies Flags;

/** Flags that say where it runs, where the data are, and how results are printed. */
export const placeFlags = {
  data: { value: "DIR", help: "folder or archive of the data set; without it the set is downloaded once" },
  device: { value: deviceNames.join("|"), help: "where to compute; default auto" },
  precision: {
    value: precisions.join("|"),
    help: "what is computed in; CUDA has all three. Default tf32 where the card has it, else f32",
  },
  "no-graph": { help: "CUDA: issue every launch by itself, for debugging" },
  json: { help: "print the result as JSON" },
} as const satisfies Flags;

/** The flag that says how often a run is saved within an epoch. */
export const saveEveryFlag = {
  value: "N|Nm",
  help: "save after every N steps or N minutes too, beside after each epoch",
} as const satisfies Flag;

/** What `--save-every` says: `500` steps or `10m`. */
export function saveEveryFrom(text: string): local.SaveEvery {
  const [, number, minutes] = /^([0-9.]+)(m?)$/.exec(text) ?? [];
  if (minutes === "m" && Number(number) > 0) return { minutes: Number(number) };
  if (minutes === "" && Number.isSafeInteger(Number(number)) && Number(number) > 0) {
    return { steps: Number(number) };
  }
  throw new LocalgradError(
    `--save-every must be a number of steps, such as 500, or of minutes, such as 10m, not "${text}"`,
  );
}

/** Flags that say how it is trained. */
export const trainingFlags = {
  ...networkFlags,
  epochs: { value: "N", help: "passes over the training images; default 10" },
  "eval-every": { value: "N", help: "judge on the test images after every N epochs and the last; default 1" },
  "save-every": saveEveryFlag,
  "schedule-epochs": {
    value: "N",
    help: "epochs over which the learning rate falls; later ones keep its last; default --epochs",
  },
  "train-limit": { value: "N", help: "use the first N training images" },
  "test-limit": { value: "N", help: "use the first N test images" },
  lr: { value: "RATE", help: "highest learning rate; default the published one, in proportion to the batch" },
  seed: { value: "N", help: "where all random numbers come from; default 0" },
} as const satisfies Flags;

/** The settings that flags give; those left out are taken from `before`, or have their defaults. */
export function settingsFrom(
  given: Given<typeof trainingFlags & Pick<typeof placeFlags, "data" | "precision">>,
  before?: Settings,
): Settings {
  const number = (name: Exclude<keyof typeof trainingFlags, "recompute" | "save-every">, least: number) =>
    given[name] === undefined ? undefined : wholeNumber(name, given[name], least);
  const batch = number("batch", 1) ?? before?.batch ?? 128;
  const trainLimit = number("train-limit", 1) ?? before?.trainLimit;
  const testLimit = number("test-limit", 1) ?? before?.testLimit;
  const evalEvery = number("eval-every", 1) ?? before?.evalEvery;
  const scheduleEpochs = number("schedule-epochs", 1) ?? before?.scheduleEpochs;
  const saveEvery = given["save-every"] === undefined
    ? before?.saveEvery
    : saveEveryFrom(given["save-every"]);
  const { precision } = { ...before, ...precisionFrom(given) };
  const path = given.data === undefined ? before?.data : resolve(given.data);
  const dataset = given.dataset === undefined
    ? before?.dataset ?? "shapes"
    : oneOf("dataset", given.dataset, datasetNames);
  const { size, recipe } = DATASETS[dataset];
  const imageSize = number("image-size", 1) ?? before?.imageSize;
  const methodOptions = { ...before?.methodOptions, ...optionsFrom(given) };
  if (size !== undefined && imageSize !== undefined) {
    throw new LocalgradError(
      `--image-size is for folders of images; those of ${dataset} are ${size}×${size}`,
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
    batch,
    epochs: number("epochs", 1) ?? before?.epochs ?? 10,
    lr: given.lr === undefined
      ? before?.lr ?? recipe.lr * batch / recipe.batch
      : positiveNumber("lr", given.lr),
    seed: number("seed", 0) ?? before?.seed ?? 0,
    ...(evalEvery === undefined ? {} : { evalEvery }),
    ...(saveEvery === undefined ? {} : { saveEvery }),
    ...(scheduleEpochs === undefined ? {} : { scheduleEpochs }),
    ...(trainLimit === undefined ? {} : { trainLimit }),
    ...(testLimit === undefined ? {} : { testLimit }),
    ...(precision === undefined ? {} : { precision }),
    ...(given.recompute || before?.recompute ? { recompute: true } : {}),
    ...(path === undefined ? {} : { data: path }),
    ...(imageSize === undefined ? {} : { imageSize }),
    ...(before?.classes === undefined ? {} : { classes: before.classes }), // last, as where they are found out
    ...(before?.classNames === undefined ? {} : { classNames: before.classNames }),
  };
}

/** The precision asked for, if any. */
export function precisionFrom(
  { precision }: Pick<Given<typeof placeFlags>, "precision">,
): { precision?: Precision } {
  return precision === undefined ? {} : { precision: oneOf("precision", precision, precisions) };
}
