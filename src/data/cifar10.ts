import { checkedLoad } from "./checked_load.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { CIFAR_AUGMENTATION } from "./augment.ts";
import type { Download } from "./download.ts";
import type { DatasetEntry } from "./entry.ts";
import { type ImageDataset, type LabelledImages, limitImages } from "./images.ts";
import { interleave } from "./planes.ts";
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

const HOME_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html";
const TEST_FILE = "test_batch.bin";
const TRAIN_FILES = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`);
const FILES = [...TRAIN_FILES, TEST_FILE];
const SIZE = 32;
const RECORD = 1 + 3 * SIZE * SIZE; // the label, then the red, green and blue planes

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
    train: decode(TRAIN_FILES.map((name) => fileOf(files, name))),
    test: decode([fileOf(files, TEST_FILE)]),
  };
}

function publication({ archive, records, md5 }: Cifar10Layout): Publication {
  const expected = records * RECORD;
  const set: Publication = {
    name: "CIFAR-10",
    home: HOME_PAGE,
    what: '"CIFAR-10 binary version"',
    folder: "cifar-10-batches-bin",
    files: Object.fromEntries(FILES.map((name) => [name, expected])),
    from: { archive },
    md5,
    mistaken: { "data_batch_1": "the Python version of CIFAR-10", "train.bin": "CIFAR-100" },
    check(bytes, name, where) {
      if (bytes.length < expected) {
        throw new LocalgradError(
          `${where} is truncated: ${bytes.length} bytes instead of ${expected}; download it again from ${HOME_PAGE}`,
        );
      }
      for (let record = 0; record < records; record++) {
        const label = at(bytes, record * RECORD);
        if (label >= CLASSES.length) {
          throw new LocalgradError(
            `${where} is mislabelled: record ${record} has class ${label}, but the last class is ${
              CLASSES.length - 1
            }; download it again from ${HOME_PAGE}`,
          );
        }
      }
      if (md5[name] !== undefined) checkMd5(bytes, md5[name], where, set);
    },
  };
  return set;
}

/** Decodes records of a label and three colour planes. */
function decode(files: readonly Uint8Array[]): LabelledImages {
  const count = files.reduce((sum, file) => sum + file.length / RECORD, 0);
  const bytes = RECORD - 1;
  const images = new Uint8Array(count * bytes);
  const labels = new Int32Array(count);
  let image = 0;
  for (const file of files) {
    for (let start = 0; start < file.length; start += RECORD, image++) {
      labels[image] = at(file, start);
      const pixels = images.subarray(image * bytes, (image + 1) * bytes);
      interleave(file.subarray(start + 1, start + RECORD), pixels, SIZE, "rows");
    }
  }
  return { images, labels, count };
}

/** CIFAR-10 for the command line. */
export const entry: DatasetEntry = {
  classes: 10,
  names: CLASSES,
  size: SIZE,
  images: { train: TRAIN_FILES.length * OFFICIAL.records, test: OFFICIAL.records },
  preprocessing,
  recipe: { epochs: 400, batch: 1024, lr: 0.8, warmup: 10 },
  load: checkedLoad(
    "cifar10",
    async ({ limits = {}, path, onProgress }) => {
      const options = {
        ...path === undefined ? {} : { path },
        ...onProgress === undefined ? {} : { onProgress },
      };
      return limitImages(await cifar10(options), limits);
    },
  ),
};
