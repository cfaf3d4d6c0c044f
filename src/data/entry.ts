import type { ImageDataset, ImagePart } from "./images.ts";
import type { Preprocessing } from "./signature.ts";

/**
 * The recipe of the papers for a data set: SGD with Nesterov momentum 0.9, weight decay 1e-4 and a cosine schedule by
 * epochs.
 */
export interface Recipe {
  /** Passes over the training images. */
  readonly epochs: number;
  /** Images per step. */
  readonly batch: number;
  /** The highest learning rate, for that batch. */
  readonly lr: number;
  /** Epochs of linear warm-up before the cosine. */
  readonly warmup: number;
}

/** Options for loading a data set. */
export interface LoadOptions {
  /** Its folder or archive; by default the set is taken from the cache, or downloaded where that is possible. */
  readonly path?: string;
  /** Rows and columns of an image, one number where they are equal, for sets without a fixed size. */
  readonly size?: number | readonly [height: number, width: number];
  /** Number of images to use of each part, from the first. */
  readonly limits?: { readonly train?: number; readonly test?: number };
  /** Called during a download with the bytes received so far and the total, where the total is known. */
  readonly onProgress?: (received: number, total: number | undefined) => void;
  /** Called as files are checked before training, with the number checked so far and the total. */
  readonly onCheck?: (done: number, total: number) => void;
  /** Called with a summary of the files of a folder that are skipped, if any are. */
  readonly onLeftOut?: (what: string) => void;
}

/** A data set of the command line: of images with a class each, or of another kind. */
export interface DatasetEntry<Set = ImageDataset<ImagePart>> {
  /** `segmentation` if each pixel has a label; undefined if each image has one. */
  readonly task?: "segmentation";
  /** Number of classes; undefined if its folders define them. */
  readonly classes?: number;
  /** Rows and columns of an image; undefined if they can be chosen. */
  readonly size?: number;
  /**
   * Of sets whose size can be chosen, the size by default, and the number of classes to plan for before the files are read;
   * by default ImageNet's.
   */
  readonly usual?: { readonly size: number; readonly classes: number };
  /** Number of images of each part, if no `limits` are given; undefined if its files define them. */
  readonly images?: { readonly train: number; readonly test: number };
  /** The names of the classes; undefined if its folders define them. */
  readonly names?: readonly string[];
  /** Its preprocessing. */
  readonly preprocessing: Preprocessing;
  /** The published recipe. */
  readonly recipe: Recipe;
  /**
   * Loads the set.
   *
   * @throws {LocalgradError} if it is missing, truncated, damaged or mislabelled.
   */
  load(options: LoadOptions): Promise<Set>;
}
