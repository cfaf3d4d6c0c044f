import { publishedLoad } from "./checked_load.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Download } from "./download.ts";
import type { DatasetEntry } from "./entry.ts";
import type { ImageDataset, LabelledImages } from "./images.ts";
import { interleave } from "./planes.ts";
import { checkMd5, fileOf, type Files, type Publication, type PublishedOptions } from "./publication.ts";
import { readPublished } from "./published.ts";
import type { Preprocessing } from "./signature.ts";

/** Statistics of its pixels. */
const preprocessing: Preprocessing = {
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
};

/** Source of {@link stl10} and progress of its download; the archive is `stl10_binary.tar.gz`. */
export type Stl10Options = PublishedOptions;

/** The layout of the published set; tests serve small sets of the same layout. */
export interface Stl10Layout {
  /** URL, length and MD5 of the archive. */
  readonly archive: Download;
  /** Bytes and MD5 of each file: no file may be longer, and one of that size must have that MD5. */
  readonly published: Readonly<Record<string, { readonly bytes: number; readonly md5: string }>>;
}

const HOME_PAGE = "https://cs.stanford.edu/~acoates/stl10/";
const SIZE = 96;
const IMAGE = 3 * SIZE * SIZE; // the red, green and blue planes
const OTHERS = 100_001 * IMAGE; // the archive's other files: 100,000 images without labels, and two text files
const CLASSES = [
  "airplane",
  "bird",
  "car",
  "cat",
  "deer",
  "dog",
  "horse",
  "monkey",
  "ship",
  "truck",
] as const;

// The home page publishes no checksums; these are torchvision's. The length is that of the server's file.
const OFFICIAL: Stl10Layout = {
  archive: {
    url: "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    bytes: 2640397119,
    md5: "91f7769df0f17e558f3565bffb0c7dfb",
  },
  published: {
    "train_X.bin": { bytes: 5000 * IMAGE, md5: "918c2871b30a85fa023e0c44e0bee87f" },
    "train_y.bin": { bytes: 5000, md5: "5a34089d4802c674881badbb80307741" },
    "test_X.bin": { bytes: 8000 * IMAGE, md5: "7f263ba9f9e0b06b93213547f721ac82" },
    "test_y.bin": { bytes: 8000, md5: "36f9794fa4beb8a2c72628de14fa638e" },
  },
};

/**
 * STL-10 (Coates, Ng and Lee, 2011) in its official binary form: 5,000 labelled training and 8,000 test images of
 * 96×96 RGB pixels in ten classes; the unlabelled images are not used. Normalisation and augmentation are those of
 * InfoPro and MAN: crops from a black border of 4 pixels, mirroring.
 *
 * @example From a folder or archive, offline
 * ```ts ignore
 * import { data } from "@localgrad/localgrad";
 * const set = await data.stl10({ path: "downloads/stl10_binary" });
 * console.log(set.train.count); // 5000
 * ```
 *
 * @throws {LocalgradError} if files are missing, truncated, damaged or not of this set, or cannot be downloaded.
 */
export function stl10(options: Stl10Options = {}): Promise<ImageDataset> {
  return loadStl10(options, OFFICIAL);
}

/** {@link stl10} with a given layout. */
export async function loadStl10(
  options: Stl10Options,
  { archive, published }: Stl10Layout,
): Promise<ImageDataset> {
  const set: Publication = {
    name: "STL-10",
    home: HOME_PAGE,
    what: '"STL-10 binary files"',
    folder: "stl10_binary",
    files: Object.fromEntries(Object.entries(published).map(([name, { bytes }]) => [name, bytes])),
    from: { archive },
    others: OTHERS,
    md5: Object.fromEntries(Object.entries(published).map(([name, { md5 }]) => [name, md5])),
    mistaken: { "train.mat": "the MATLAB version of STL-10" },
    check(bytes, name, where) {
      if (name.endsWith("_X.bin")) checkImages(bytes, where);
      else checkLabels(bytes, where);
      const official = published[name];
      if (bytes.length === official?.bytes) checkMd5(bytes, official.md5, where, set);
    },
  };
  const files = await readPublished(set, options);
  return {
    name: "stl10",
    classes: CLASSES,
    height: SIZE,
    width: SIZE,
    channels: 3,
    ...preprocessing,
    augmentation: { border: 4, fill: "zero", flip: true },
    train: decode(files, "train", options.path ?? set.folder),
    test: decode(files, "test", options.path ?? set.folder),
  };
}

function checkImages(bytes: Uint8Array, where: string): void {
  if (bytes.length % IMAGE === 0) return;
  throw new LocalgradError(
    `${where} is truncated: ${bytes.length} bytes are not a whole number of images of ${IMAGE}; ` +
      `download it again from ${HOME_PAGE}`,
  );
}

function checkLabels(bytes: Uint8Array, where: string): void {
  const wrong = bytes.findIndex((label) => label < 1 || label > CLASSES.length);
  if (wrong < 0) return;
  throw new LocalgradError(`${where} is mislabelled: image ${wrong} has label ${bytes[wrong]}, not 1 to 10`);
}

/** Decodes planes stored column by column, and labels from 1. */
function decode(files: Files, part: "train" | "test", where: string): LabelledImages {
  const [planes, numbers] = [fileOf(files, `${part}_X.bin`), fileOf(files, `${part}_y.bin`)];
  const count = planes.length / IMAGE;
  if (numbers.length !== count) {
    throw new LocalgradError(
      `${where}: ${part}_X.bin has ${count} images and ${part}_y.bin ${numbers.length} labels; ` +
        `one of them is truncated or belongs to another set; download them again from ${HOME_PAGE}`,
    );
  }
  const images = new Uint8Array(planes.length);
  for (let start = 0; start < images.length; start += IMAGE) {
    const end = start + IMAGE;
    interleave(planes.subarray(start, end), images.subarray(start, end), SIZE, "columns");
  }
  return { images, labels: Int32Array.from(numbers, (label) => label - 1), count };
}

/** STL-10 for the command line. */
export const entry: DatasetEntry = {
  classes: 10,
  names: CLASSES,
  size: SIZE,
  images: { train: 5000, test: 8000 },
  preprocessing,
  recipe: { epochs: 400, batch: 128, lr: 0.1, warmup: 10 },
  load: publishedLoad("stl10", stl10),
};
