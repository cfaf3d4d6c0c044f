/**
 * Tables of images in Parquet files, as Hugging Face keeps data sets. A separate sub-path, because it needs two packages:
 * hyparquet, which reads tables, and the WebAssembly build of ImageMagick, which decodes the pictures in them.
 *
 * @module
 */

import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole, pairFrom } from "../../base/expect.ts";
import { checkedLoad } from "../checked_load.ts";
import type { DatasetEntry } from "../entry.ts";
import { description, preprocessing } from "../folder/description.ts";
import { checkFiles, SharedDecoders, streamed } from "../folder/reader.ts";
import { type ImageDataset, limitImages, type StreamedImages } from "../images.ts";
import { shown } from "../regular.ts";
import { columnsOf, expectColumns, readRows, type Rows } from "./rows.ts";
import { listTables } from "./listing.ts";
import { Table } from "./tables.ts";

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

/** Options of {@link imageTables}. */
export interface ImageTablesOptions {
  /**
   * The folder of the tables, such as a clone of a data set of the hub: `train-*.parquet` and `test-*.parquet`, in any
   * folder within it; `test` may be `validation`, `valid` or `val`.
   */
  readonly path: string;
  /** Rows and columns to which every image is resized, one number where they are equal; 224 by default. */
  readonly size?: number | readonly [height: number, width: number];
  /** The column of images; by default the one that the files call an image, or the only one with bytes. */
  readonly image?: string;
  /** The column of classes; by default the one that the files call a class label, or `label` or `labels`. */
  readonly label?: string;
  /** Use only the first so many rows for training. */
  readonly train?: number;
  /** Use only the first so many rows for testing. */
  readonly test?: number;
  /** The most bytes of encoded images to keep in memory; 4 GiB by default. */
  readonly memory?: number;
  /** Number of decoding threads; by default the number of cores. The pixels do not depend on it. */
  readonly threads?: number;
  /** Called as images are checked, with the number checked so far and the total. */
  readonly onCheck?: (done: number, total: number) => void;
}

/**
 * Loads a data set from tables in Parquet files, whose rows have an encoded image (bytes, or Hugging Face's
 * `{ bytes, path }`) and a class. Encoded images are kept in memory; threads decode them on demand, like those of
 * `imageFolder`: random resized crops, half of them mirrored, and for tests a crop at the centre, normalised with
 * ImageNet's statistics. Tables are read one row group at a time, uncompressed or compressed by Snappy, Zstandard, gzip
 * or Brotli.
 *
 * @example
 * ```ts ignore
 * import { imageTables } from "@localgrad/localgrad/parquet";
 * const beans = await imageTables({ path: "beans", size: 128 });
 * console.log(beans.classes); // the names in the files
 * await trainer.fit(beans, { epochs: 30 });
 * ```
 *
 * @throws {LocalgradError} if files are missing, damaged or of an unknown compression, a column is missing, a row has no
 * image or no class, an image cannot be decoded, or the images exceed `memory`.
 */
export async function imageTables(options: ImageTablesOptions): Promise<ImageDataset<StreamedImages>> {
  expectOptions("imageTables", options, {
    path: "string",
    size: "any?",
    image: "string?",
    label: "string?",
    train: "number?",
    test: "number?",
    memory: "number?",
    threads: "number?",
    onCheck: "function?",
  });
  const { path, size = 224, memory = 2 ** 32, threads = navigator.hardwareConcurrency, onCheck } = options;
  const extents = pairFrom("imageTables: size", size, 1);
  for (const [name, value] of Object.entries({ memory, threads })) {
    expectWhole(`imageTables: ${name}`, value);
  }
  for (const name of ["train", "test"] as const) {
    if (options[name] !== undefined) expectWhole(`imageTables: ${name}`, options[name]);
  }
  const files = await listTables(path);
  using opened = new DisposableStack();
  const open = async (paths: readonly string[]) => {
    const tables: Table[] = [];
    for (const path of paths) tables.push(opened.use(await Table.open(path)));
    return tables;
  };
  const tables = { train: await open(files.train), test: await open(files.test) };
  const [first] = tables.train;
  if (first === undefined) throw new Error("listTables found no table");
  const columns = columnsOf(first, options);
  for (const table of [...tables.train, ...tables.test]) expectColumns(table, [columns.image, columns.label]);
  const bytes = [...tables.train, ...tables.test].reduce(
    (sum, table) => sum + table.bytesOf(columns.image),
    0,
  );
  if (bytes > memory && options.train === undefined) {
    throw new LocalgradError(
      `${
        shown(path)
      } has ${bytes} bytes of images, more than the ${memory} that may be kept in memory; set memory, use ` +
        `fewer rows (train, test), or unpack it into a folder of images`,
    );
  }
  const train = await readRows(tables.train, columns, options.train, memory);
  const test = await readRows(tables.test, columns, options.test, memory);
  const classes = columns.classes ?? numbered(train, test);
  expectClasses(classes.length, train, test);
  const pool = new SharedDecoders(threads);
  const part = ({ files, labels }: Rows) => streamed(files, Int32Array.from(labels), extents, pool);
  await checkFiles([...train.files, ...test.files], pool, onCheck);
  return limitImages({
    name: path,
    classes,
    height: extents[0],
    width: extents[1],
    channels: 3,
    ...preprocessing,
    train: part(train),
    test: part(test),
  }, {});
}

/** The numbers of classes as names. */
function numbered(...parts: readonly Rows[]): string[] {
  const highest = parts.reduce((most, { labels }) => labels.reduce((a, b) => Math.max(a, b), most), 0);
  return Array.from({ length: highest + 1 }, (_, label) => String(label));
}

function expectClasses(classes: number, ...parts: readonly Rows[]): void {
  for (const { labels, files } of parts) {
    const wrong = labels.findIndex((label) => label >= classes);
    if (wrong < 0) continue;
    throw new LocalgradError(
      `${shown(files[wrong]?.path ?? "")} is mislabelled: it has class ${
        labels[wrong]
      }; ${classes} classes are 0 to ` +
        `${classes - 1}`,
    );
  }
}

/** Tables of images for the command line. */
export const entry: DatasetEntry = {
  ...description,
  load: checkedLoad("parquet", ({ path, size, limits = {}, onCheck }) => {
    if (path === undefined) throw new LocalgradError("parquet: the path of the folder of tables is missing");
    return imageTables({
      path,
      ...(size === undefined ? {} : { size }),
      ...limits,
      ...(onCheck === undefined ? {} : { onCheck }),
    });
  }),
};
