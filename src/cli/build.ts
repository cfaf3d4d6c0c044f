/**
 * Builds the parts of a run from its settings: the device, the images, the network and the trainer.
 *
 * @module
 */

import { engineNames } from "../backends/cuda/engine_names.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Processes } from "../backends/communicator.ts";
import type { Precision } from "../compile/plan.ts";
import type { ImageDataset, ImagePart } from "../data.ts";
import * as local from "../local.ts";
import { precisionOn } from "../local/precision.ts";
import * as models from "../models.ts";
import * as optim from "../optim.ts";
import type { Device } from "../runtime/arrays.ts";
import { open } from "../runtime/devices.ts";
import { withAugmentation } from "./flags/augment.ts";
import { modulesOf } from "./cut.ts";
import { type AnySet, DATASETS } from "./datasets.ts";
import { type Given, oneOf } from "./flags/flags.ts";
import { extentsOf } from "./flags/image_size.ts";
import { lossOf } from "./flags/loss.ts";
import { methodOf } from "./flags/method.ts";
import { optimizerOf } from "./flags/optimizer.ts";
import { scheduleNamed } from "./flags/rate.ts";
import { datasetNames, type Settings } from "./settings.ts";
import { deviceNames, type placeFlags } from "./flags/place.ts";
import { note, showCheck, showDownload } from "./terminal.ts";

/** Opens the device given by a flag, or else the library's choice; rejects a precision that it does not support. */
export async function openDevice(
  given: Pick<Given<typeof placeFlags>, "device" | "no-graph" | "overlap" | "sync-launches" | "engines">,
  { precision }: { readonly precision?: Precision },
  processes?: Processes,
): Promise<Device> {
  const name = given.device === undefined ? undefined : oneOf("device", given.device, deviceNames);
  const device = await open(name, {
    ...(processes === undefined ? {} : { processes }),
    ...(given["no-graph"] ? { graphs: false } : {}),
    ...(given.overlap ? { overlap: true } : {}),
    ...(given["sync-launches"] ? { syncLaunches: true } : {}),
    ...(given.engines === undefined ? {} : { engines: oneOf("engines", given.engines, engineNames) }),
  });
  try {
    precisionOn(device.backend.target, precision);
    return device;
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** Refuses a network that cannot be trained on the data set. */
export function refuseTask({ dataset, model }: Pick<Settings, "dataset" | "model">): void {
  const { task } = DATASETS[dataset];
  const { task: own } = models.modelNamed(model);
  if ((own === "segmentation") === (task === "segmentation")) return;
  const names = (wanted: boolean) => {
    const fit = datasetNames.filter((name) => (DATASETS[name].task === "segmentation") === wanted);
    return fit.join(", ");
  };
  const labelling = models.modelNames.filter((name) => models.modelNamed(name).task === "segmentation");
  throw new LocalgradError(
    own === "segmentation"
      ? `${model} labels pixels, but ${dataset} has one class for each image; give --dataset ${names(true)}`
      : `${dataset} has a label for each pixel; give --model ${labelling.join(", ")}`,
  );
}

/** Loads the data set of a run, with its augmentation, from `path` if it has moved since it was started. */
export async function loadSet(
  { dataset, trainLimit, testLimit, imageSize, augment, data }: Settings,
  path: string | undefined = data,
): Promise<AnySet> {
  const inFolder = IN_FOLDERS.get(dataset);
  if (inFolder !== undefined && path === undefined) {
    throw new LocalgradError(`--dataset ${dataset} needs the folder of ${inFolder}: --data DIR`);
  }
  if ((dataset === "shapes" || dataset === "scenes") && path !== undefined) {
    throw new LocalgradError(`--data is for data sets in files; ${dataset} are drawn, so leave it out`);
  }
  const images = await DATASETS[dataset].load({
    ...(path === undefined ? {} : { path }),
    ...(imageSize === undefined ? {} : { size: extentsOf(imageSize) }),
    limits: {
      ...(trainLimit === undefined ? {} : { train: trainLimit }),
      ...(testLimit === undefined ? {} : { test: testLimit }),
    },
    onProgress: (received, total) => showDownload(dataset, received, total),
    onCheck: showCheck,
    onLeftOut: note,
  });
  return withAugmentation(images, augment);
}

/** Loads the images of a run, see {@link loadSet}; refuses those with a label for each pixel. */
export async function loadImages(
  settings: Settings,
  path: string | undefined = settings.data,
): Promise<ImageDataset<ImagePart>> {
  if (DATASETS[settings.dataset].task !== undefined) throw hasMaps(settings);
  const images = await loadSet(settings, path);
  if ("task" in images) throw hasMaps(settings);
  return images;
}

function hasMaps({ dataset }: Settings): LocalgradError {
  return new LocalgradError(`${dataset} has a label for each pixel; this takes images with one class each`);
}

/** What is in the folders that data sets are read from. */
const IN_FOLDERS: ReadonlyMap<Settings["dataset"], string> = new Map([
  ["folder", "images"],
  ["parquet", "tables"],
  ["label-maps", "pictures with label maps"],
]);

/** Those of ImageNet, to plan before a folder is read. */
const IMAGENET = { classes: 1000, size: 224 };

/** The settings that determine the network, the cut, the method and the optimizer. */
export type Network = Pick<
  Settings,
  | "dataset"
  | "model"
  | "modules"
  | "method"
  | "methodOptions"
  | "optimizer"
  | "loss"
  | "batchNorm"
  | "precision"
  | "classes"
  | "imageSize"
>;

/** Makes the network, the cut, the method and the optimizer of a run. */
export function setupOf(
  {
    dataset,
    model,
    modules,
    method,
    methodOptions = {},
    optimizer = {},
    loss,
    batchNorm,
    precision,
    classes,
    imageSize,
  }: Network,
) {
  const set = DATASETS[dataset];
  const { average, accumulate } = optimizer;
  const { usual = IMAGENET } = set;
  const images = {
    classes: set.classes ?? classes ?? usual.classes,
    size: set.size ?? (imageSize === undefined ? usual.size : extentsOf(imageSize)),
  };
  return {
    model: models.modelNamed(model, images),
    modules: modulesOf(modules),
    method: methodOf(method, methodOptions, dataset),
    optimizer: optimizerOf(optimizer),
    ...(loss === undefined ? {} : { loss: lossOf(loss) }),
    ...(average === undefined ? {} : { average }),
    ...(accumulate === undefined ? {} : { accumulate }),
    ...(batchNorm === undefined ? {} : { batchNorm }),
    ...(precision === undefined ? {} : { precision }),
  };
}

/** Shorter runs have a shorter warm-up, and no last epoch at rate 0. */
const LONG = 40;

/** Epochs of warm-up: those published, or fewer in a short run. */
export function warmupOf({ dataset, epochs, scheduleEpochs = epochs }: Settings): number {
  const { warmup } = DATASETS[dataset].recipe;
  return scheduleEpochs >= LONG ? warmup : Math.min(warmup, Math.floor(scheduleEpochs / 8));
}

/** The learning rate of a run. */
export function scheduleOf(settings: Settings): optim.Schedule {
  const { lr, rates: { schedule, warmup } = {} } = settings;
  const length = settings.scheduleEpochs ?? settings.epochs;
  const named = schedule === undefined || schedule === "published"
    ? publishedSchedule(settings, warmup === undefined ? warmupOf(settings) : 0)
    : scheduleNamed(schedule, lr, length);
  return warmup === undefined ? named : optim.warmup(named, warmup);
}

/** The learning rate by epoch: the published cosine with warm-up, then its last rate above 0. */
function publishedSchedule(settings: Settings, warmup: number): optim.Curve {
  const length = settings.scheduleEpochs ?? settings.epochs;
  const long = length >= LONG;
  const cosine = optim.warmupCosine({ base: settings.lr, epochs: long ? length : length + 1, warmup });
  return (epoch) => cosine(epoch < length ? epoch : length - (long ? 2 : 1));
}

/** Makes a trainer with the initial values of a run. */
export function trainerOf(
  settings: Settings,
  device: Device,
  others: Pick<local.TrainerOptions, "exchange" | "depth" | "memoryLimit" | "reserve"> = {},
): Promise<local.Trainer> {
  const { batch, seed, recompute } = settings;
  return local.trainer({
    device,
    ...setupOf(settings),
    schedule: scheduleOf(settings),
    batch,
    seed,
    ...(recompute === undefined ? {} : { recompute }),
    ...others,
  });
}
