import type { ImageDataset, ImagePart } from "./images.ts";

/** How the papers train on a data set: SGD with Nesterov momentum 0.9, weight decay 1e-4, cosine by epochs. */
export interface Recipe {
  /** Passes over the training images. */
  readonly epochs: number;
  /** Images of a step. */
  readonly batch: number;
  /** The highest learning rate, for that batch. */
  readonly lr: number;
  /** Epochs in which the rate rises to the cosine. */
  readonly warmup: number;
}

/** What to load of a data set, and from where. */
export interface LoadOptions {
  /** Its folder or archive; without it, it is taken from the cache or downloaded, where it can be. */
  readonly path?: string;
  /** Rows and columns of an image, for sets that have no size of their own. */
  readonly size?: number;
  /** Use the first images only. */
  readonly limits?: { readonly train?: number; readonly test?: number };
  /** Called as a download goes on, with bytes received and, where the server tells, in all. */
  readonly onProgress?: (received: number, total: number | undefined) => void;
  /** Called as files are checked before training, with how many were and are to be. */
  readonly onCheck?: (done: number, total: number) => void;
  /** Told which files of a folder are left out, if any are. */
  readonly onLeftOut?: (what: string) => void;
}

/** A data set as the command line knows it. */
export interface DatasetEntry {
  /** How many classes it has; undefined where its folder says. */
  readonly classes?: number;
  /** Rows and columns of an image; undefined where they can be chosen. */
  readonly size?: number;
  /** How it is trained on. */
  readonly recipe: Recipe;
  /**
   * Loads it.
   *
   * @throws {LocalgradError} where it is not there, truncated, damaged or mislabelled.
   */
  load(options: LoadOptions): Promise<ImageDataset<ImagePart>>;
}
