/**
 * Folders of images, such as ImageNet. A separate sub-path, because its threads need a package for decoding, the
 * WebAssembly build of ImageMagick.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole } from "../../base/expect.ts";
import { foldIn, type Key, uniform } from "../../base/random.ts";
import type { DatasetEntry } from "../entry.ts";
import { checkedLoad } from "../checked_load.ts";
import { type ImageDataset, type ImageReader, limitImages, type StreamedImages } from "../images.ts";
import { Decoders, DRAWS } from "./decoders.ts";
import { description, preprocessing } from "./description.ts";
import { listImages, type Listing } from "./listing.ts";

export type { DatasetEntry, LoadOptions, Recipe } from "../entry.ts";
export type { ColourJitter } from "../augmentation/jitter.ts";
export type { Erasing } from "../augmentation/erase.ts";
export type { Mixing } from "../augmentation/mix.ts";
export type { RandAugment } from "../augmentation/rand_augment.ts";
export type {
  Augmentation,
  ImageDataset,
  ImagePart,
  ImageReader,
  LabelledImages,
  StreamedImages,
} from "../images.ts";
export type { Signature } from "../signature.ts";
export type { Key } from "../../base/random.ts";

/** Options of {@link imageFolder}. */
export interface ImageFolderOptions {
  /**
   * The folder, with `train/CLASS/*.jpg` and `val/CLASS/*.jpg`. Files may also be `.jpeg`, `.png`, `.webp`, `.bmp`,
   * `.tif` or `.tiff`, and `val` may be `validation`, `valid` or `test`. Hidden files and folders are skipped.
   */
  readonly path: string;
  /** Rows and columns to which every image is resized; 224 by default. */
  readonly size?: number;
  /** Use only this many training images, taken from each class in turn. */
  readonly train?: number;
  /** Use only this many test images, taken from each class in turn. */
  readonly test?: number;
  /** Number of decoding threads; by default the number of cores. The pixels do not depend on it. */
  readonly threads?: number;
  /** Called as files are checked, with the number checked so far and the total. */
  readonly onCheck?: (done: number, total: number) => void;
  /** Called with a summary of skipped files, if any; by default prints a warning. */
  readonly onLeftOut?: (what: string) => void;
}

/** Up to this many files are decoded before training, to find damaged ones; of more, only both ends are checked. */
const CHECKED = 5000;

/** Images requested ahead of use, per thread. */
const AHEAD = 4;

/**
 * Loads a data set from folders of image files, one per class, which threads decode on demand. Training images are
 * random resized crops, half of them mirrored; test images are resized to 256/224 of the size and cropped at the centre.
 * Pixels are normalised with ImageNet's statistics. JPEG, PNG, WebP, BMP and TIFF of every kind are supported:
 * progressive, grey, CMYK, palette, 16-bit. They are rotated as EXIF says, and transparency is ignored. The limits are
 * 32,768 pixels per side, 100 million pixels per picture, and 1 GiB and 10 s to decode it.
 *
 * @example
 * ```ts ignore
 * import { imageFolder } from "@localgrad/localgrad/folder";
 * const flowers = await imageFolder({ path: "flowers", size: 224 });
 * console.log(flowers.classes); // the folders in flowers/train
 * await trainer.fit(flowers, { epochs: 90 });
 * ```
 *
 * @throws {LocalgradError} if folders are missing or empty, a link is broken, or a file is empty, truncated, damaged, not
 * an image or beyond those limits.
 */
export async function imageFolder(options: ImageFolderOptions): Promise<ImageDataset<StreamedImages>> {
  expectOptions("imageFolder", options, {
    path: "string",
    size: "number?",
    train: "number?",
    test: "number?",
    threads: "number?",
    onCheck: "function?",
    onLeftOut: "function?",
  });
  const { path, size = 224, threads = navigator.hardwareConcurrency, onLeftOut = console.warn, ...rest } =
    options;
  const { onCheck, ...limits } = rest;
  for (const [name, value] of Object.entries({ size, threads })) {
    expectWhole(`imageFolder: ${name}`, value);
  }
  const { classes, leftOut, ...parts } = await listImages(path);
  if (leftOut !== undefined) onLeftOut(`${path}: skipped files: ${leftOut}`);
  const pool = new SharedDecoders(threads);
  const dataset = limitImages({
    name: path,
    classes,
    height: size,
    width: size,
    channels: 3,
    ...preprocessing,
    train: streamed(parts.train, size, pool),
    test: streamed(parts.test, size, pool),
  }, limits);
  const used = [
    ...parts.train.paths.slice(0, dataset.train.count),
    ...parts.test.paths.slice(0, dataset.test.count),
  ];
  await checkFiles(used, pool, onCheck);
  return dataset;
}

/** Decoding threads that run while anything uses them. */
class SharedDecoders {
  readonly threads: number;
  #decoders: Decoders | undefined;
  #users = 0;

  constructor(threads: number) {
    this.threads = threads;
  }

  acquire(): Decoders {
    this.#users++;
    return this.#decoders ??= new Decoders(this.threads);
  }

  async release(): Promise<void> {
    if (--this.#users > 0) return;
    const decoders = this.#decoders;
    this.#decoders = undefined;
    await decoders?.[Symbol.asyncDispose]();
  }
}

function streamed({ paths, labels }: Listing, size: number, pool: SharedDecoders): StreamedImages {
  return { labels, count: labels.length, open: () => new FolderReader(paths, size, pool) };
}

class FolderReader implements ImageReader {
  readonly ahead: number;
  readonly #paths: readonly string[];
  readonly #size: number;
  readonly #pool: SharedDecoders;
  readonly #decoders: Decoders;

  constructor(paths: readonly string[], size: number, pool: SharedDecoders) {
    this.ahead = AHEAD * pool.threads;
    this.#paths = paths;
    this.#size = size;
    this.#pool = pool;
    this.#decoders = pool.acquire();
  }

  get done(): ImageReader["done"] {
    return this.#decoders.done;
  }

  async read(indices: Uint32Array, key?: Key): Promise<Uint8Array> {
    const each = this.#size * this.#size * 3;
    const pixels = new Uint8Array(indices.length * each);
    // Without augmentation each image is decoded once, such as the one that pads the last batch.
    const same = new Map<number, Promise<Uint8Array>>();
    await Promise.all(Array.from(indices, async (index, position) => {
      let image = same.get(index);
      if (image === undefined) {
        image = this.#decode(index, key && foldIn(key, position));
        if (key === undefined) same.set(index, image);
      }
      pixels.set(await image, position * each);
    }));
    return pixels;
  }

  #decode(index: number, key: Key | undefined): Promise<Uint8Array> {
    const draws = key === undefined ? {} : { draws: uniform(key, DRAWS) };
    return this.#decoders.decode({ path: at(this.#paths, index), size: this.#size, ...draws });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#pool.release();
  }
}

/** Rejects a set with a file that cannot be decoded, naming it. */
async function checkFiles(
  paths: readonly string[],
  pool: SharedDecoders,
  onCheck: ImageFolderOptions["onCheck"],
): Promise<void> {
  const decoders = pool.acquire();
  try {
    const check = paths.length <= CHECKED ? "whole" : "ends";
    const rest = paths.values(); // shared by all workers
    let done = 0;
    let fault: { readonly error: unknown } | undefined;
    const work = async () => {
      for (const path of rest) {
        if (fault !== undefined) return;
        await decoders.check({ path, check }).catch((error) => fault ??= { error });
        onCheck?.(++done, paths.length);
      }
    };
    await Promise.all(Array.from({ length: AHEAD * pool.threads }, work));
    if (fault !== undefined) throw fault.error;
  } finally {
    await pool.release();
  }
}

/** Folders of images for the command line. */
export const entry: DatasetEntry = {
  ...description,
  load: checkedLoad("folder", ({ path, size, limits = {}, onCheck, onLeftOut }) => {
    if (path === undefined) throw new LocalgradError("folder: the path of the folder of images is missing");
    return imageFolder({
      path,
      ...(size === undefined ? {} : { size }),
      ...limits,
      ...(onCheck === undefined ? {} : { onCheck }),
      ...(onLeftOut === undefined ? {} : { onLeftOut }),
    });
  }),
};
