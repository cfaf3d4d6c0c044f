import { expectObject, expectOptions, expectWhole, type Kinds } from "../base/expect.ts";
import type { Key } from "../base/random.ts";
import type { Augmentation } from "./augmentation/augmentation.ts";
export type { Augmentation } from "./augmentation/augmentation.ts";
import { type Signature, SIGNATURE_KINDS } from "./signature.ts";

/** Labelled images of one size, in memory on the host. */
export interface LabelledImages {
  /** Pixels as bytes: `[count, height, width, channels]`, row-major. */
  readonly images: Uint8Array;
  /** The class of each image: `[count]`. */
  readonly labels: Int32Array;
  /** Number of images. */
  readonly count: number;
}

/** Labelled images whose pixels are produced on demand, such as by decoding files. */
export interface StreamedImages {
  /** The class of each image: `[count]`. */
  readonly labels: Int32Array;
  /** Number of images. */
  readonly count: number;
  /** Opens a reader. */
  open(): ImageReader;
}

/** Reads pixels, of several batches concurrently if asked to; dispose of it after the last. */
export interface ImageReader extends AsyncDisposable {
  /**
   * Reads the pixels of the images at `indices` as bytes, `[indices, height, width, channels]`. With a key they are
   * augmented, the same way for the same key.
   */
  read(indices: Uint32Array, key?: Key): Promise<Uint8Array>;
  /** Number of images to request ahead of use, so that no thread is idle; at least two batches are requested. */
  readonly ahead?: number;
  /** Images read so far, and the milliseconds they took with all threads busy. */
  readonly done: { readonly images: number; readonly milliseconds: number };
}

/** A part of a data set: in memory, or read on demand. */
export type ImagePart = LabelledImages | StreamedImages;

/** A data set for image classification on the host: training and test images of one size. */
export interface ImageDataset<Part extends ImagePart = LabelledImages> extends Signature {
  /** Its name in messages and reports. */
  readonly name: string;
  /** Augmentation of training images; by default that of CIFAR-10. Streamed images are augmented by their reader. */
  readonly augmentation?: Augmentation;
  /** Training images. */
  readonly train: Part;
  /** Test images. */
  readonly test: Part;
}

/** The properties of a data set, to check one from a user. */
export const SET_KINDS = {
  ...SIGNATURE_KINDS,
  name: "string",
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

/** Keeps the first `train` training and `test` test images of a set, without a copy; all of a part without a limit. */
export function limitImages<Part extends ImagePart>(
  set: ImageDataset<Part>,
  limits: { train?: number; test?: number },
): ImageDataset<Part> {
  expectObject("a data set", set, SET_KINDS);
  expectOptions("limitImages", limits, { train: "number?", test: "number?" });
  return {
    ...set,
    train: first(set.train, limits.train, "training"),
    test: first(set.test, limits.test, "test"),
  };
}
