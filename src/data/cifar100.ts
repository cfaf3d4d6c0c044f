import { LocalgradError } from "../base/errors.ts";
import { expectOptions, shown } from "../base/expect.ts";
import { CIFAR_AUGMENTATION } from "./augment.ts";
import { publishedLoad } from "./checked_load.ts";
import { CLASSES, SUPERCLASSES } from "./cifar100_classes.ts";
import { checkRecords, decodeRecords, HOME_PAGE, recordBytes, SIZE } from "./cifar_records.ts";
import type { Download } from "./download.ts";
import type { DatasetEntry } from "./entry.ts";
import type { ImageDataset } from "./images.ts";
import { fileOf, type Publication, type PublishedOptions } from "./publication.ts";
import { PUBLISHED_KINDS, readPublished } from "./published.ts";
import type { Preprocessing } from "./signature.ts";

/** Statistics of its pixels. */
const preprocessing: Preprocessing = {
  mean: [129.3 / 255, 124.1 / 255, 112.4 / 255],
  std: [68.2 / 255, 65.4 / 255, 70.4 / 255],
};

/** Source of {@link cifar100} and progress of its download; the archive is `cifar-100-binary.tar.gz`. */
export interface Cifar100Options extends PublishedOptions {
  /** The label of an image: one of 100 classes (`fine`, the default), or one of their 20 superclasses (`coarse`). */
  readonly labels?: "fine" | "coarse";
}

/** The layout of the published set; tests read small sets of the same layout. */
export interface Cifar100Layout {
  /** URL, length and MD5 of the archive. */
  readonly archive: Download;
  /** Records of each file by name. */
  readonly records: Readonly<Record<string, number>>;
}

const TRAIN_FILE = "train.bin";
const TEST_FILE = "test.bin";
const LABELS = [
  { what: "superclass", classes: SUPERCLASSES.length },
  { what: "class", classes: CLASSES.length },
] as const;
const PLACES = { coarse: 0, fine: 1 } as const;

// The MD5 is the home page's, the length that of the server's file. No MD5 of the unpacked files is published.
const OFFICIAL: Cifar100Layout = {
  archive: {
    url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    bytes: 168513733,
    md5: "03b5dce01913d631647c71ecec9e9cb8",
  },
  records: { [TRAIN_FILE]: 50000, [TEST_FILE]: 10000 },
};

/**
 * CIFAR-100 (Krizhevsky, 2009) in its official binary form: 50,000 training and 10,000 test images of 32×32 RGB pixels
 * in 100 classes, or in their 20 superclasses. A download is checked against the published MD5. Augmentation is that of
 * CIFAR-10; the statistics are the set's own.
 *
 * @example From a folder or archive, offline
 * ```ts ignore
 * import { data } from "@localgrad/localgrad";
 * const set = await data.cifar100({ path: "downloads/cifar-100-binary", labels: "coarse" });
 * console.log(set.classes.length); // 20
 * ```
 *
 * @throws {LocalgradError} if files are missing, truncated, mislabelled or not of this set, or cannot be downloaded.
 */
export function cifar100(options: Cifar100Options = {}): Promise<ImageDataset> {
  return loadCifar100(options, OFFICIAL);
}

/** {@link cifar100} with a given layout. */
export async function loadCifar100(
  options: Cifar100Options,
  layout: Cifar100Layout,
): Promise<ImageDataset> {
  expectOptions("cifar100", options, { ...PUBLISHED_KINDS, labels: "string?" });
  const { labels = "fine", ...source } = options;
  if (labels !== "fine" && labels !== "coarse") {
    throw new LocalgradError(`cifar100: labels is "fine" or "coarse", not ${shown(labels)}`);
  }
  const files = await readPublished(publication(layout), source);
  const decode = (name: string) => decodeRecords([fileOf(files, name)], LABELS.length, PLACES[labels]);
  return {
    name: labels === "fine" ? "cifar100" : "cifar100-coarse",
    classes: labels === "fine" ? CLASSES : SUPERCLASSES,
    height: SIZE,
    width: SIZE,
    channels: 3,
    ...preprocessing,
    augmentation: CIFAR_AUGMENTATION,
    train: decode(TRAIN_FILE),
    test: decode(TEST_FILE),
  };
}

function publication({ archive, records }: Cifar100Layout): Publication {
  const record = recordBytes(LABELS);
  return {
    name: "CIFAR-100",
    home: HOME_PAGE,
    what: '"CIFAR-100 binary version"',
    folder: "cifar-100-binary",
    files: Object.fromEntries(Object.entries(records).map(([name, count]) => [name, count * record])),
    from: { archive },
    md5: {},
    mistaken: { "train": "the Python version of CIFAR-100", "data_batch_1.bin": "CIFAR-10" },
    check: (bytes, name, where) => checkRecords(bytes, where, records[name] ?? 0, LABELS),
  };
}

/** What both labellings have in common on the command line: the recipe is that of CIFAR-10. */
const shared = {
  size: SIZE,
  images: { train: 50000, test: 10000 },
  preprocessing,
  recipe: { epochs: 400, batch: 1024, lr: 0.8, warmup: 10 },
};

/** CIFAR-100 for the command line. */
export const entry: DatasetEntry = {
  ...shared,
  classes: CLASSES.length,
  names: CLASSES,
  load: publishedLoad("cifar100", cifar100),
};

/** CIFAR-100 by its superclasses, for the command line. */
export const coarseEntry: DatasetEntry = {
  ...shared,
  classes: SUPERCLASSES.length,
  names: SUPERCLASSES,
  load: publishedLoad("cifar100-coarse", (options) => cifar100({ ...options, labels: "coarse" })),
};
