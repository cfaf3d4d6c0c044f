/**
 * Folders of pictures with label maps, such as PASCAL VOC and Cityscapes. A separate sub-path, because it needs packages for
 * decoding: the WebAssembly build of ImageMagick for pictures, and fast-png for label maps.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole, pairFrom } from "../../base/expect.ts";
import { foldIn, type Key, uniform } from "../../base/random.ts";
import { checkedLoad } from "../checked_load.ts";
import type { DatasetEntry } from "../entry.ts";
import { IGNORED } from "../../models/model.ts";
import type { PixelDataset, PixelReader, StreamedPixels } from "../label_maps.ts";
import { shown, stat, unreadable } from "../regular.ts";
import { boxOf, cropLabels, DRAWS } from "./boxes.ts";
import { type Box, type Decoders, LIMITS } from "./decoders.ts";
import { labelMapDescription, preprocessing } from "./description.ts";
import { decodeLabels, type PixelLabels } from "./label_png.ts";
import { type LabelledFile, listLabelled } from "./labelled_listing.ts";
import { checkFiles, SharedDecoders } from "./reader.ts";

export type { Key } from "../../base/random.ts";
export type { Augmentation, ImageReader } from "../images.ts";
export type { LabelledPixels, PixelDataset, PixelPart, PixelReader, StreamedPixels } from "../label_maps.ts";
export type { Preprocessing, Signature } from "../signature.ts";

/** Options of {@link segmentationFolder}. */
export interface SegmentationFolderOptions {
  /**
   * The folder: with `train/images`, `train/labels`, `val/images` and `val/labels`, where a picture and its label map have the
   * same name; or that of PASCAL VOC (`VOC2012`), with `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation`; or that
   * of Cityscapes, with `leftImg8bit` and `gtFine`, of which `labelTrainIds` are taken if they were made, else `labelIds`.
   */
  readonly path: string;
  /** Rows and columns of an image, one number where they are equal; default 512. */
  readonly size?: number | readonly [height: number, width: number];
  /** The name of each class, by label; default those of VOC or Cityscapes, or of the lines of `classes.txt` in the folder. */
  readonly classes?: readonly string[];
  /** The class of each value of a label map, 255 for none; default the value itself, and 255 beyond the table. */
  readonly table?: readonly number[];
  /**
   * The smallest and the largest scale of a training crop, as a multiple of that at which a whole picture just fits into an
   * image; default 0.5 and 2.
   */
  readonly scales?: readonly [least: number, most: number];
  /** Use only the first so many training images. */
  readonly train?: number;
  /** Use only the first so many test images. */
  readonly test?: number;
  /** Number of decoding threads; by default the number of cores. The pixels do not depend on it. */
  readonly threads?: number;
  /** Called as pictures are checked, with the number checked so far and the total. */
  readonly onCheck?: (done: number, total: number) => void;
}

/** Up to this many label maps are decoded before training, to find damaged ones. */
const CHECKED = 5000;

/** Images requested ahead of use, per thread. */
const AHEAD = 4;

/** The colour of pixels beside a picture: about the mean, so that they are near 0 once normalised. */
const FILL = preprocessing.mean.map((value) => Math.round(255 * value));

/**
 * Loads a data set for segmentation from a folder of pictures with label maps. Label maps are PNGs, grey or with a palette,
 * whose values are classes; 255 is none. In training, a picture and its map are scaled by the same random factor, cropped at
 * the same random place, and half of them mirrored, all from the key of the step; in tests the whole picture is shown.
 * Pictures are resized bilinearly, maps to the nearest label; what lies beside a picture has no class. Pixels are normalised
 * with ImageNet's statistics. Pictures are of the kinds, and within the limits, of `imageFolder`.
 *
 * @example
 * ```ts ignore
 * import { segmentationFolder } from "@localgrad/localgrad/segmentation";
 * const voc = await segmentationFolder({ path: "VOCdevkit/VOC2012", size: 512 });
 * const model = models.deeplabv3_resnet50({ classes: voc.classes.length, size: 512 });
 * await trainer.fit(voc, { epochs: 50 });
 * ```
 *
 * @throws {LocalgradError} if the layout is none of those, a label map is missing, is no such PNG, has another size than its
 * picture or a label that is no class, or a picture cannot be decoded.
 */
export async function segmentationFolder(
  options: SegmentationFolderOptions,
): Promise<PixelDataset<StreamedPixels>> {
  expectOptions("segmentationFolder", options, {
    path: "string",
    size: "any?",
    classes: "array?",
    table: "array?",
    scales: "array?",
    train: "number?",
    test: "number?",
    threads: "number?",
    onCheck: "function?",
  });
  const { path, size = 512, scales = [0.5, 2], threads = navigator.hardwareConcurrency, onCheck } = options;
  const extents = pairFrom("segmentationFolder: size", size, 1);
  expectWhole("segmentationFolder: threads", threads);
  const [least, most] = scales;
  if (!(least > 0 && most >= least && most < Infinity)) {
    throw new LocalgradError(
      `segmentationFolder: scales are two numbers above 0, the smaller first, not ${scales.join(" and ")}`,
    );
  }
  const listed = await listLabelled(path);
  const classes = options.classes ?? listed.classes;
  if (classes === undefined) {
    throw new LocalgradError(
      `segmentationFolder: the label maps of ${path} do not name their classes; give ` +
        'classes: ["background", …], or write them into classes.txt there, one a line',
    );
  }
  if (classes.length === 0 || classes.length > IGNORED) {
    throw new LocalgradError(
      `segmentationFolder: there may be 1 to ${IGNORED} classes, not ${classes.length}`,
    );
  }
  const first = (part: "train" | "test") => {
    const { [part]: count } = options;
    if (count !== undefined) expectWhole(`segmentationFolder: ${part}`, count);
    return listed[part].slice(0, count);
  };
  const [train, test] = [first("train"), first("test")];
  const table = options.table === undefined ? listed.table : tableFrom(options.table);
  const pool = new SharedDecoders(threads);
  const source: Source = { extents, scales: [least, most], classes: classes.length, table, pool };
  const all = [...train, ...test];
  if (all.length <= CHECKED) { for (const { map } of all) await labelsOf(map, source); }
  await checkFiles(all.map(({ image }) => ({ path: image })), pool, onCheck);
  const { mean, std } = preprocessing;
  return {
    task: "segmentation",
    name: path,
    classes,
    height: extents[0],
    width: extents[1],
    channels: 3,
    mean,
    std,
    train: { count: train.length, open: () => new FileReader(train, source) },
    test: { count: test.length, open: () => new FileReader(test, source) },
  };
}

/** What a reader needs beside the files. */
interface Source {
  readonly extents: readonly [height: number, width: number];
  readonly scales: readonly [least: number, most: number];
  readonly classes: number;
  readonly table: Uint8Array | undefined;
  readonly pool: SharedDecoders;
}

function tableFrom(given: readonly number[]): Uint8Array {
  const wrong = given.findIndex((label) => !(Number.isInteger(label) && label >= 0 && label <= IGNORED));
  if (wrong >= 0 || given.length > 256) {
    throw new LocalgradError(
      wrong < 0
        ? `segmentationFolder: a table has at most 256 labels, not ${given.length}`
        : `segmentationFolder: the class of the value ${wrong} must be a whole number from 0 to 255, not ${
          given[wrong]
        }`,
    );
  }
  const table = new Uint8Array(256).fill(IGNORED);
  table.set(given);
  return table;
}

/** Reads a label map as classes; refuses one with others. */
async function labelsOf(path: string, { classes, table }: Source): Promise<PixelLabels> {
  const info = await stat(path);
  if (info?.isFile !== true) throw new LocalgradError(shown(`${path} is not a regular file`));
  if (info.size > LIMITS.memory) throw new LocalgradError(shown(`${path} is too long; make it smaller`));
  const bytes = await Deno.readFile(path).catch((error) => {
    throw unreadable(path, error);
  });
  const read = decodeLabels(path, bytes);
  const labels = table === undefined ? read.labels : read.labels.map((value) => at(table, value));
  const wrong = labels.find((label) => label >= classes && label !== IGNORED);
  if (wrong === undefined) return { ...read, labels };
  throw new LocalgradError(
    shown(
      `${path} has the label ${wrong}; ${classes} classes are 0 to ${classes - 1}, and ${IGNORED} is none`,
    ),
  );
}

class FileReader implements PixelReader {
  readonly ahead: number;
  readonly #files: readonly LabelledFile[];
  readonly #source: Source;
  readonly #decoders: Decoders;

  constructor(files: readonly LabelledFile[], source: Source) {
    this.ahead = AHEAD * source.pool.threads;
    this.#files = files;
    this.#source = source;
    this.#decoders = source.pool.acquire();
  }

  get done(): PixelReader["done"] {
    return this.#decoders.done;
  }

  async read(indices: Uint32Array, key?: Key): Promise<{ images: Uint8Array; maps: Uint8Array }> {
    const [height, width] = this.#source.extents;
    const size = height * width;
    const images = new Uint8Array(indices.length * size * 3), maps = new Uint8Array(indices.length * size);
    await Promise.all(Array.from(indices, async (index, position) => {
      const { image, map } = at(this.#files, index);
      const { labels, box } = await this.#cropped(map, key && foldIn(key, position));
      maps.set(labels, position * size);
      const pixels = await this.#decoders.decode({ path: image, size: [height, width], box, fill: FILL });
      images.set(pixels, position * size * 3);
    }));
    return { images, maps };
  }

  async #cropped(map: string, key: Key | undefined): Promise<{ labels: Uint8Array; box: Box }> {
    const { extents, scales } = this.#source;
    const whole = await labelsOf(map, this.#source);
    const box = boxOf(whole, extents, key && { draws: uniform(key, DRAWS), scales });
    return { labels: cropLabels(whole, extents, box), box };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#source.pool.release();
  }
}

/** Folders of label maps for the command line. */
export const entry: DatasetEntry<PixelDataset<StreamedPixels>> = {
  ...labelMapDescription,
  load: checkedLoad("label-maps", async ({ path, size, limits = {}, onCheck }) => {
    if (path === undefined) throw new LocalgradError("label-maps: path, the folder of pictures, is missing");
    return await segmentationFolder({
      path,
      ...limits,
      ...(size === undefined ? {} : { size }),
      ...(onCheck === undefined ? {} : { onCheck }),
    });
  }),
};
