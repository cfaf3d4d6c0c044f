/**
 * The kinds of data that a trainer takes, which are told apart only here: images in bytes with a class each or with label
 * maps, typed arrays, and streams.
 *
 * @module
 */

import { LocalgradError } from "../base/errors.ts";
import { type ArrayDataset, checkArrays, labelsFault, partFault } from "../data/arrays.ts";
import type { ImageDataset, ImagePart } from "../data/images.ts";
import type { PixelDataset, PixelPart } from "../data/label_maps.ts";
import { checkStatistics, type Signature, signatureOf } from "../data/signature.ts";
import { checkStream, type StreamDataset } from "../data/stream.ts";
import {
  classifiesTokens,
  imageInput,
  inputShape,
  labelsAval,
  type Model,
  regresses,
  segments,
} from "../models/model.ts";
import type { Device } from "../runtime/arrays.ts";
import { sizeOf } from "../trace/dtype.ts";
import { arrayFeed } from "./feeds/array_feed.ts";
import { checkDataset } from "./dataset.ts";
import type { Feed } from "./feeds/feed.ts";
import { imageFeed } from "./feeds/image_feed.ts";
import { labelFeed } from "./feeds/label_feed.ts";
import { pixelFeed } from "./feeds/pixel_feed.ts";
import { checkPixelSet } from "./pixel_set.ts";

/** Images that a trainer trains on; they may be without a test part. */
export type TrainingImages = Omit<ImageDataset<ImagePart>, "test"> & { readonly test?: ImagePart };

/** Images with label maps that a trainer trains on. */
export type TrainingPixels = PixelDataset<PixelPart>;

/** What `fit` trains on: images, images with label maps, typed arrays (`data.arrays`), or a stream (`data.stream`). */
export type TrainingData = TrainingImages | TrainingPixels | ArrayDataset | StreamDataset;

/** True for a stream of batches. */
export function isStream(data: TrainingData): data is StreamDataset {
  return "batches" in data;
}

/** True for images in bytes with a class each. */
export function isImages(data: TrainingData): data is TrainingImages {
  return !isStream(data) && !isArrays(data) && !isPixels(data);
}

/** True for images in bytes with label maps. */
function isPixels(data: TrainingData): data is TrainingPixels {
  return "task" in data;
}

function isArrays(data: TrainingData): data is ArrayDataset {
  return "shape" in data;
}

/** Refuses data that a network cannot be trained or evaluated on, or that contradict themselves. */
export function checkData(
  who: string,
  model: Model,
  data: TrainingData,
  parts: readonly ("train" | "test")[],
): void {
  const isObject = typeof data === "object" && data !== null;
  if (!isObject) return checkDataset(who, model, data as TrainingImages, parts); // no data set at all
  if (isPixels(data)) {
    refuseTask(who, model, data);
    return checkPixelSet(who, model, data, parts);
  }
  if (isImages(data)) {
    if ("train" in data) refuseTask(who, model, data);
    return checkDataset(who, model, data, parts);
  }
  const { name, test } = data;
  if (isStream(data)) {
    checkStream(who, data);
    const { mean, std } = data;
    if (mean !== undefined && std !== undefined) {
      const { channels } = imageInput(
        `${who}: ${name} has mean and std, which are for images in bytes`,
        model,
      );
      checkStatistics(who, name, { mean, std }, channels);
    }
  } else {
    checkArrays(who, data, parts.filter((part) => part === "train" || test !== undefined));
    if (String(data.shape) !== String(inputShape(model))) {
      throw new LocalgradError(
        `${who}: ${model.name} takes inputs of [${
          inputShape(model)
        }], but those of ${name} are [${data.shape}]`,
      );
    }
  }
  refuseTask(who, model, data);
  if (parts.includes("test") && test === undefined) {
    throw new LocalgradError(`${who}: ${name} has no test part`);
  }
  for (const part of parts) {
    const given = part === "test" ? test : isStream(data) ? undefined : data.train;
    if (given === undefined) continue;
    const fault =
      (isStream(data) ? partFault(given, sizeOf(inputShape(model)), data.classes?.length) : undefined) ??
        outputsFault(model, given.labels.length / given.count);
    if (fault !== undefined) throw new LocalgradError(`${who}: the ${part} part of ${name} ${fault}`);
  }
}

/** The fault of labels that are not as many for each input as the network takes: outputs of a regression, or tokens. */
function outputsFault(model: Model, outputs: number): string | undefined {
  const expected = sizeOf(labelsAval(model, 1).shape);
  if (outputs === expected) return undefined;
  if (!regresses(model)) {
    return `has ${outputs} labels for each input; ${model.name} takes ${expected}` +
      (classifiesTokens(model) ? ", one of each token" : "");
  }
  return `has ${outputs} values as the label of an input; ${model.name} gives ${model.classes}`;
}

/**
 * Refuses classes for a regression, values for a classifier, one class an image for a segmentation, label maps for others, and
 * more classes than a network has.
 */
function refuseTask(
  who: string,
  model: Model,
  { name, classes, task }: {
    readonly name: string;
    readonly classes?: readonly string[];
    readonly task?: "segmentation";
  },
): void {
  if (segments(model) !== (task === "segmentation")) {
    throw new LocalgradError(
      task === undefined
        ? `${who}: ${model.name} labels pixels, but ${name} has one label for each input; train it on a ` +
          "data.PixelDataset, such as data.scenes()"
        : `${who}: ${name} has a label for each pixel, but ${model.name} gives one for each image; take a network whose ` +
          'task is "segmentation", such as models.deeplabv3_resnet50()',
    );
  }
  if (regresses(model)) {
    if (classes === undefined) return;
    throw new LocalgradError(
      `${who}: ${name} has classes, but ${model.name} is a regression; make it without task: "regression"`,
    );
  }
  if (classes === undefined) {
    throw new LocalgradError(
      `${who}: ${name} has values as labels and no classes, but ${model.name} is a classifier; make it with ` +
        `task: "regression", or name the classes`,
    );
  }
  if (classes.length > model.classes) {
    throw new LocalgradError(
      `${who}: ${name} has ${classes.length} classes, ${model.name} was made for ${model.classes}; ` +
        `make it with { classes: ${classes.length} }`,
    );
  }
}

/** The fault of a stream's labels of `count` inputs for a network. */
export function labelsFaultFor(
  model: Model,
  { classes }: StreamDataset,
  labels: Int32Array | Float32Array,
  count: number,
): string | undefined {
  return labelsFault(labels, count, classes?.length) ?? outputsFault(model, labels.length / count);
}

/** Class names and preprocessing of data, if they have any. */
export function signatureIn(model: Model, data: TrainingData): Signature | undefined {
  if (isStream(data)) return streamSignature(model, data);
  return isArrays(data) ? undefined : signatureOf(data);
}

function streamSignature({ input }: Model, { classes, mean, std }: StreamDataset): Signature | undefined {
  if (classes === undefined || mean === undefined || std === undefined || "features" in input) {
    return undefined;
  }
  return signatureOf({ ...input, classes, mean, std });
}

/** Opens a feed of the training part for a process whose step reads labels only. */
export function openLabels(device: Device, data: Exclude<TrainingData, StreamDataset>): Feed {
  if (isPixels(data)) return pixelFeed(device, data, data.train); // label maps are read with their images
  const [height = 1, width = 1] = isArrays(data) ? data.shape : [data.height, data.width];
  return labelFeed(device, data.train, { augmentation: data.augmentation, height, width });
}

/** Opens a feed of a part; a stream has only a test part to open. */
export function openPart(device: Device, model: Model, data: TrainingData, part: "train" | "test"): Feed {
  if (isStream(data)) {
    return arrayFeed(device, { name: data.name, shape: inputShape(model) }, present(data.test, data, part));
  }
  if (isArrays(data)) return arrayFeed(device, data, present(data[part], data, part));
  if (isPixels(data)) return pixelFeed(device, data, present<PixelPart>(data[part], data, part));
  return imageFeed(device, data, present<ImagePart>(data[part], data, part));
}

function present<T>(value: T | undefined, { name }: TrainingData, part: string): T {
  if (value !== undefined) return value;
  throw new LocalgradError(`${name} has no ${part} part`);
}
