/**
 * Folders of images, as ImageNet's. This is a sub-path of its own because its threads need a package for
 * decoding, ImageMagick's WebAssembly build.
 *
 * @module
 */

import { LocalgradError } from "../../base/errors.ts";
import { expectWhole } from "../../base/expect.ts";
import { foldIn, type Key, uniform } from "../../base/random.ts";
import type { DatasetEntry } from "../entry.ts";
import { type ImageDataset, type ImageReader, limitImages, type StreamedImages } from "../images.ts";
import { Decoders, DRAWS } from "./decoders.ts";
import { listImages, type Listing } from "./listing.ts";

export type { DatasetEntry, LoadOptions, Recipe } from "../entry.ts";
export type {
  Augmentation,
  ImageDataset,
  ImagePart,
  ImageReader,
  LabelledImages,
  StreamedImages,
} from "../images.ts";
export type { Key } from "../../base/random.ts";

/** Which images {@link imageFolder} takes, and how. */
export interface ImageFolderOptions {
  /**
   * The folder: it holds `train/CLASS/*.jpg` and `val/CLASS/*.jpg`. `.jpeg`, `.png`, `.webp`, `.bmp`, `.tif` and `.tiff`
   * will do, and `validation`, `valid` or `test` for `val`. What is hidden is passed over.
   */
  readonly path: string;
  /** Rows and columns that every image is brought to; 224 by default. */
  readonly size?: number;
  /** Use the first training images only, one of each class in turn. */
  readonly train?: number;
  /** Use the first test images only. */
  readonly test?: number;
  /** Threads that decode; by default as many as there are cores. The pixels do not depend on it. */
  readonly threads?: number;
  /** Called as the files are checked, with how many were and are to be. */
  readonly onCheck?: (done: number, total: number) => void;
  /** Told which files are left out, if any are; by default, a warning on the console. */
  readonly onLeftOut?: (what: string) => void;
}

/** Up to so many files are decoded once before training, to find the damaged ones; of more, the two ends are looked at. */
const CHECKED = 5000;
/** Images that each thread has been asked for beforehand. */
const AHEAD = 4;

/**
 * A data set of image files in folders by class, decoded by threads as they are needed. Training images are random
 * resized crops, half of them mirrored; test images are resized to 256/224 of the size and cropped at the centre. The
 * pixels are normalised with ImageNet's statistics. JPEG, PNG, WebP, BMP and TIFF of every kind are read: progressive,
 * grey, CMYK, palette, 16 bits; they are turned upright where EXIF says so, and transparency is left out. A side may
 * have 32,768 pixels, a picture 100 million, and decoding it may take 1 GiB and 10 s.
 *
 * @example
 * ```ts ignore
 * import { imageFolder } from "@localgrad/localgrad/folder";
 * const flowers = await imageFolder({ path: "flowers", size: 224 });
 * console.log(flowers.classes); // the folders in flowers/train
 * await trainer.fit(flowers, { epochs: 90 });
 * ```
 *
 * @throws {LocalgradError} where folders are missing or empty, a link leads nowhere, or a file is empty, truncated,
 * damaged, no image or beyond those limits.
 */
export async function imageFolder(options: ImageFolderOptions): Promise<ImageDataset<StreamedImages>> {
  const { path, size = 224, threads = navigator.hardwareConcurrency, onLeftOut = console.warn } = options;
  for (const [name, value] of Object.entries({ size, threads })) {
    expectWhole(`imageFolder: ${name}`, value);
  }
  const { classes, leftOut, ...parts } = await listImages(path);
  if (leftOut !== undefined) onLeftOut(`${path}: files are left out: ${leftOut}`);
  const pool = new SharedDecoders(threads);
  const dataset = limitImages({
    name: path,
    classes,
    height: size,
    width: size,
    channels: 3,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    train: streamed(parts.train, size, pool),
    test: streamed(parts.test, size, pool),
  }, options);
  const used = [
    ...parts.train.paths.slice(0, dataset.train.count),
    ...parts.test.paths.slice(0, dataset.test.count),
  ];
  await checkFiles(used, pool, options.onCheck);
  return dataset;
}

/** Decoding threads that run while anyone needs them. */
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
    // Images that are not varied are decoded once, such as those that only fill up a last batch.
    const same = new Map<number, Promise<Uint8Array>>();
    await Promise.all(Array.from(indices, async (index, place) => {
      let image = same.get(index);
      if (image === undefined) {
        image = this.#decode(index, key && foldIn(key, place));
        if (key === undefined) same.set(index, image);
      }
      pixels.set(await image, place * each);
    }));
    return pixels;
  }

  #decode(index: number, key: Key | undefined): Promise<Uint8Array> {
    const draws = key === undefined ? {} : { draws: uniform(key, DRAWS) };
    return this.#decoders.decode({ path: this.#paths[index], size: this.#size, ...draws });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#pool.release();
  }
}

/** Refuses a set with a file that cannot be decoded, and names one. */
async function checkFiles(
  paths: readonly string[],
  pool: SharedDecoders,
  onCheck: ImageFolderOptions["onCheck"],
): Promise<void> {
  const decoders = pool.acquire();
  try {
    const check = paths.length <= CHECKED ? "whole" : "ends";
    const at = paths.values(); // taken by all takers together
    let done = 0;
    let fault: { readonly error: unknown } | undefined;
    const take = async () => {
      for (const path of at) {
        if (fault !== undefined) return;
        await decoders.check({ path, check }).catch((error) => fault ??= { error });
        onCheck?.(++done, paths.length);
      }
    };
    await Promise.all(Array.from({ length: AHEAD * pool.threads }, take));
    if (fault !== undefined) throw fault.error;
  } finally {
    await pool.release();
  }
}

/** Folders of images by name; the recipe is ImageNet's on one card. */
export const entry: DatasetEntry = {
  recipe: { epochs: 90, batch: 128, lr: 0.05, warmup: 0 },
  // deno-lint-ignore require-await -- what is refused must be a rejection
  async load({ path, size, limits = {}, onCheck, onLeftOut }) {
    if (path === undefined) throw new LocalgradError("a folder of images must be named: --data DIR");
    return imageFolder({
      path,
      ...(size === undefined ? {} : { size }),
      ...limits,
      ...(onCheck === undefined ? {} : { onCheck }),
      ...(onLeftOut === undefined ? {} : { onLeftOut }),
    });
  },
};
