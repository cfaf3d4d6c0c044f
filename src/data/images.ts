import { expectObject, expectWhole, type Kinds } from "../base/expect.ts";
import type { Key } from "../base/random.ts";

/** Labelled images of one size on the host. */
export interface LabelledImages {
  /** Pixels as bytes: `[count, height, width, channels]`, row-major. */
  readonly images: Uint8Array;
  /** The class of each image: `[count]`. */
  readonly labels: Int32Array;
  /** How many images there are. */
  readonly count: number;
}

/** Labelled images whose pixels are made when they are needed, such as by decoding files. */
export interface StreamedImages {
  /** The class of each image: `[count]`. */
  readonly labels: Int32Array;
  /** How many images there are. */
  readonly count: number;
  /** Begins to read them. */
  open(): ImageReader;
}

/** Makes pixels, of several batches at once if asked; disposed when no more are wanted. */
export interface ImageReader extends AsyncDisposable {
  /**
   * Pixels of the images at `indices` as bytes, `[indices, height, width, channels]`; augmented where a key is given,
   * and then the same for the same key.
   */
  read(indices: Uint32Array, key?: Key): Promise<Uint8Array>;
  /** How many images should be asked for ahead of use, so that nothing is idle; two batches at least are. */
  readonly ahead?: number;
  /** What was made so far: images, and the milliseconds that took with everything at work. */
  readonly done: { readonly images: number; readonly milliseconds: number };
}

/** A part of a data set: in memory, or made as needed. */
export type ImagePart = LabelledImages | StreamedImages;

/** How training images that lie in memory are varied. */
export interface Augmentation {
  /** Rows and columns added on each side before a crop of the image's own size is taken at random; 0 for no crop. */
  readonly border: number;
  /** What the border shows: the image reflected, the edge itself not repeated, or black. */
  readonly fill: "reflect" | "zero";
  /** Whether half of the images are mirrored. */
  readonly flip: boolean;
}

/** A data set for image classification, on the host: a training and a test part of images of one size. */
export interface ImageDataset<Part extends ImagePart = LabelledImages> {
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
  /** How training images are varied; by default as CIFAR-10's. Streamed images are varied by their reader. */
  readonly augmentation?: Augmentation;
  /** Images to learn from. */
  readonly train: Part;
  /** Images to be judged by. */
  readonly test: Part;
}

/** What a data set is made of, for the check of one from a user. */
export const SET_KINDS = {
  name: "string",
  classes: "array",
  height: "number",
  width: "number",
  channels: "number",
  mean: "array",
  std: "array",
  augmentation: "object?",
  train: "object",
  test: "object",
} as const satisfies Kinds<ImageDataset>;

function first<Part extends ImagePart>(part: Part, limit: number | undefined, what: string): Part {
  if (limit === undefined) return part;
  expectWhole(`the ${what} limit`, limit);
  if (limit >= part.count) return part;
  const images = "images" in part
    ? { images: part.images.subarray(0, part.images.length / part.count * limit) }
    : {};
  return { ...part, ...images, labels: part.labels.subarray(0, limit), count: limit };
}

/** The first `train` training and `test` test images of a set; all of a part whose limit is not given. No copy. */
export function limitImages<Part extends ImagePart>(
  set: ImageDataset<Part>,
  limits: { train?: number; test?: number },
): ImageDataset<Part> {
  expectObject("a data set", set, SET_KINDS);
  expectObject("limitImages: the limits", limits, { train: "number?", test: "number?" });
  return {
    ...set,
    train: first(set.train, limits.train, "training"),
    test: first(set.test, limits.test, "test"),
  };
}
