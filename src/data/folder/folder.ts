/**
 * Folders of images, such as ImageNet. A separate sub-path, because its threads need a package for decoding, the
 * WebAssembly build of ImageMagick.
 *
 * @module
 */

import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole, pairFrom } from "../../base/expect.ts";
import type { DatasetEntry } from "../entry.ts";
import { checkedLoad } from "../checked_load.ts";
import { type ImageDataset, limitImages, type StreamedImages } from "../images.ts";
import { description, preprocessing } from "./description.ts";
import { listImages, type Listing } from "./listing.ts";
import { checkFiles, type ImageFile, SharedDecoders, streamed } from "./reader.ts";
import { isTinyImagenet, listTinyImagenet } from "./tiny_imagenet.ts";

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
   * `.tif` or `.tiff`, and `val` may be `validation`, `valid` or `test`. Hidden files and folders are skipped. Or the
   * folder `tiny-imagenet-200` of Tiny ImageNet as it is published.
   */
  readonly path: string;
  /** Rows and columns to which every image is resized, one number where they are equal; 224 by default. */
  readonly size?: number | readonly [height: number, width: number];
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
    size: "any?",
    train: "number?",
    test: "number?",
    threads: "number?",
    onCheck: "function?",
    onLeftOut: "function?",
  });
  const { path, size = 224, threads = navigator.hardwareConcurrency, onLeftOut = console.warn, ...rest } =
    options;
  const { onCheck, ...limits } = rest;
  const extents = pairFrom("imageFolder: size", size, 1);
  expectWhole("imageFolder: threads", threads);
  const { classes, leftOut, ...parts } =
    await (await isTinyImagenet(path) ? listTinyImagenet(path) : listImages(path));
  if (leftOut !== undefined) onLeftOut(`${path}: skipped files: ${leftOut}`);
  const pool = new SharedDecoders(threads);
  const [train, test] = [filesOf(parts.train), filesOf(parts.test)];
  const dataset = limitImages({
    name: path,
    classes,
    height: extents[0],
    width: extents[1],
    channels: 3,
    ...preprocessing,
    train: streamed(train, parts.train.labels, extents, pool),
    test: streamed(test, parts.test.labels, extents, pool),
  }, limits);
  const used = [...train.slice(0, dataset.train.count), ...test.slice(0, dataset.test.count)];
  await checkFiles(used, pool, onCheck);
  return dataset;
}

const filesOf = ({ paths }: Listing): ImageFile[] => paths.map((path) => ({ path }));

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
