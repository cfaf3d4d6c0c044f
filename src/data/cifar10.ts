import { publishedLoad } from "./checked_load.ts";
import { CIFAR_AUGMENTATION } from "./augment.ts";
import { checkRecords, decodeRecords, HOME_PAGE, recordBytes, SIZE } from "./cifar_records.ts";
import type { Download } from "./download.ts";
import type { DatasetEntry } from "./entry.ts";
import type { ImageDataset } from "./images.ts";
import { checkMd5, fileOf, type Publication, type PublishedOptions } from "./publication.ts";
import { readPublished } from "./published.ts";
import type { Preprocessing } from "./signature.ts";

/** Statistics of its pixels. */
const preprocessing: Preprocessing = {
  mean: [125.3 / 255, 123.0 / 255, 113.9 / 255],
  std: [63.0 / 255, 62.1 / 255, 66.7 / 255],
};

/** Source of {@link cifar10} and progress of its download; the archive is `cifar-10-binary.tar.gz`. */
export type Cifar10Options = PublishedOptions;

/** The layout of the published set; tests read small sets of the same layout. */
export interface Cifar10Layout {
  /** URL, length and MD5 of the archive. */
  readonly archive: Download;
  /** Records in each of the six files. */
  readonly records: number;
  /** MD5 of files, in hexadecimal; files not listed are not checked. */
  readonly md5: Readonly<Record<string, string>>;
}

const TEST_FILE = "test_batch.bin";
const TRAIN_FILES = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`);
const FILES = [...TRAIN_FILES, TEST_FILE];

const OFFICIAL: Cifar10Layout = {
  archive: {
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    bytes: 170052171,
    md5: "c32a1d4ab5d03f1284b67883e8d87530",
  },
  records: 10000,
  md5: {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
  },
};

const CLASSES = [
  "airplane",
  "automobile",
  "bird",
  "cat",
  "deer",
  "dog",
  "frog",
  "horse",
  "ship",
  "truck",
] as const;

const LABELS = [{ what: "class", classes: CLASSES.length }] as const;

/**
 * CIFAR-10 (Krizhevsky, 2009) in its official binary form: 50,000 training and 10,000 test images of 32×32 RGB pixels
 * in ten classes. The files are checked against their published MD5. The statistics are those of InfoPro and MAN.
 *
 * @example From a folder or archive, offline
 * ```ts ignore
 * import { data } from "@localgrad/localgrad";
 * const set = await data.cifar10({ path: "downloads/cifar-10-binary.tar.gz" });
 * console.log(set.train.count); // 50000
 * ```
 *
 * @throws {LocalgradError} if files are missing, truncated, damaged or not of this set, or cannot be downloaded.
 */
export function cifar10(options: Cifar10Options = {}): Promise<ImageDataset> {
  return loadCifar10(options, OFFICIAL);
}

/** {@link cifar10} with a given layout. */
export async function loadCifar10(options: Cifar10Options, layout: Cifar10Layout): Promise<ImageDataset> {
  const files = await readPublished(publication(layout), options);
  return {
    name: "cifar10",
    classes: CLASSES,
    height: SIZE,
    width: SIZE,
    channels: 3,
    ...preprocessing,
    augmentation: CIFAR_AUGMENTATION,
    train: decodeRecords(TRAIN_FILES.map((name) => fileOf(files, name)), 1, 0),
    test: decodeRecords([fileOf(files, TEST_FILE)], 1, 0),
  };
}

function publication({ archive, records, md5 }: Cifar10Layout): Publication {
  const set: Publication = {
    name: "CIFAR-10",
    home: HOME_PAGE,
    what: '"CIFAR-10 binary version"',
    folder: "cifar-10-batches-bin",
    files: Object.fromEntries(FILES.map((name) => [name, records * recordBytes(LABELS)])),
    from: { archive },
    md5,
    mistaken: { "data_batch_1": "the Python version of CIFAR-10", "train.bin": "CIFAR-100" },
    check(bytes, name, where) {
      checkRecords(bytes, where, records, LABELS);
      if (md5[name] !== undefined) checkMd5(bytes, md5[name], where, set);
    },
  };
  return set;
}

/** CIFAR-10 for the command line. */
export const entry: DatasetEntry = {
  classes: 10,
  names: CLASSES,
  size: SIZE,
  images: { train: TRAIN_FILES.length * OFFICIAL.records, test: OFFICIAL.records },
  preprocessing,
  recipe: { epochs: 400, batch: 1024, lr: 0.8, warmup: 10 },
  load: publishedLoad("cifar10", cifar10),
};
