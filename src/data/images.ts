import { LocalgradError } from "../errors.ts";

/** Labelled images of one size on the host. */
export interface LabelledImages {
  /** Pixels as bytes: `[count, height, width, channels]`, row-major. */
  readonly images: Uint8Array;
  /** The class of each image: `[count]`. */
  readonly labels: Int32Array;
  /** How many images there are. */
  readonly count: number;
}

/** A data set for image classification, on the host: a training and a test part of images of one size. */
export interface ImageDataset {
  /** What to call it in messages and reports. */
  readonly name: string;
  /** The name of each class; its length is the number of classes. */
  readonly classes: readonly string[];
  /** Rows of an image. */
  readonly height: number;
  /** Columns of an image. */
  readonly width: number;
  /** Values per pixel. */
  readonly channels: number;
  /** Mean of each channel, in units where a byte's 255 is 1. */
  readonly mean: readonly number[];
  /** Standard deviation of each channel, in the same units. */
  readonly std: readonly number[];
  /** Images to learn from. */
  readonly train: LabelledImages;
  /** Images to be judged by. */
  readonly test: LabelledImages;
}

function first(part: LabelledImages, limit: number | undefined, what: string): LabelledImages {
  if (limit === undefined) return part;
  if (!Number.isInteger(limit) || limit < 1) {
    throw new LocalgradError(`the ${what} limit must be a whole number of at least 1, not ${limit}`);
  }
  if (limit >= part.count) return part;
  return {
    images: part.images.subarray(0, part.images.length / part.count * limit),
    labels: part.labels.subarray(0, limit),
    count: limit,
  };
}

/** The first `train` training and `test` test images of a set; all of a part whose limit is not given. No copy. */
export function limitImages(set: ImageDataset, limits: { train?: number; test?: number }): ImageDataset {
  return {
    ...set,
    train: first(set.train, limits.train, "training"),
    test: first(set.test, limits.test, "test"),
  };
}
