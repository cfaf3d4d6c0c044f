import { LocalgradError } from "../errors.ts";
import type { DatasetEntry } from "./entry.ts";
import { type ImageDataset, type LabelledImages, limitImages } from "./images.ts";
import { readMat } from "./mat.ts";
import { checkMd5, type Publication, type PublishedOptions, readPublished } from "./published.ts";

/** Where {@link svhn} gets the set from, and who is told about a download. */
export type SvhnOptions = PublishedOptions;

/** The published set; tests serve small ones in the same layout. */
export interface SvhnLayout {
  /** The folder that the files are published in. */
  readonly url: string;
  /** Images and MD5 of each file: one with as many images must have that sum. */
  readonly published: Readonly<Record<string, { readonly images: number; readonly md5: string }>>;
}

const HOME_PAGE = "http://ufldl.stanford.edu/housenumbers/";
const TRAIN_FILE = "train_32x32.mat";
const TEST_FILE = "test_32x32.mat";
const SIZE = 32;
const PIXELS = SIZE * SIZE;
const CLASSES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] as const;

// The home page states no checksums; these are the ones torchvision checks.
const OFFICIAL: SvhnLayout = {
  url: HOME_PAGE,
  published: {
    [TRAIN_FILE]: { images: 73257, md5: "e26dedcc434d2e4c54c9b2d4a06d8373" },
    [TEST_FILE]: { images: 26032, md5: "eb5a983be6a315427106f1b164d9cef3" },
  },
};

/**
 * The Street View House Numbers, format 2 (Netzer et al., 2011), in their official MATLAB files: 73,257 training and
 * 26,032 test images of 32×32 RGB pixels, in ten classes, one a digit; the `extra` images are not used. Pixels are
 * normalised, and training images varied, as by InfoPro and MAN: a black border of 2 pixels, no mirroring.
 *
 * @example From a folder that holds `train_32x32.mat` and `test_32x32.mat`
 * ```ts ignore
 * import { data } from "@localgrad/localgrad";
 * const set = await data.svhn({ path: "downloads/svhn" });
 * console.log(set.train.count); // 73257
 * ```
 *
 * @throws {LocalgradError} where files are missing, truncated, damaged or not this set, or cannot be downloaded.
 */
export function svhn(options: SvhnOptions = {}): Promise<ImageDataset> {
  return loadSvhn(options, OFFICIAL);
}

/** {@link svhn} of a given layout. */
export async function loadSvhn(options: SvhnOptions, layout: SvhnLayout): Promise<ImageDataset> {
  const parts = new Map<string, LabelledImages>();
  const set: Publication = {
    name: "SVHN",
    home: HOME_PAGE,
    what: '"Format 2: Cropped Digits"',
    folder: "svhn",
    files: [TRAIN_FILE, TEST_FILE],
    url: { [TRAIN_FILE]: layout.url + TRAIN_FILE, [TEST_FILE]: layout.url + TEST_FILE },
    md5: Object.fromEntries(Object.entries(layout.published).map(([name, { md5 }]) => [name, md5])),
    mistaken: {
      "train/digitStruct.mat": "SVHN in format 1 (whole numbers)",
      "train.tar.gz": "SVHN in format 1 (whole numbers)",
    },
    check(bytes, name, where) {
      const part = decode(bytes, where);
      const { images, md5 } = layout.published[name];
      if (part.count === images) checkMd5(bytes, md5, where, set);
      parts.set(name, part);
    },
  };
  await readPublished(set, options);
  return {
    name: "svhn",
    classes: CLASSES,
    height: SIZE,
    width: SIZE,
    channels: 3,
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
    augmentation: { border: 2, fill: "zero", flip: false },
    train: parts.get(TRAIN_FILE)!,
    test: parts.get(TEST_FILE)!,
  };
}

/** `X` `[32, 32, 3, images]`, rows fastest, and `y` of 1 … 10, where 10 is the digit 0. */
function decode(bytes: Uint8Array, where: string): LabelledImages {
  const arrays = readMat(bytes, where);
  const [x, y] = [arrays.get("X"), arrays.get("y")];
  if (x === undefined || y === undefined) {
    const names = [...arrays.keys()].join(", ") || "none";
    throw new LocalgradError(`${where} is no SVHN file: it has the arrays ${names}, not X and y`);
  }
  const [rows, columns, channels, count = 1] = x.shape; // MATLAB drops a last extent of 1
  if (rows !== SIZE || columns !== SIZE || channels !== 3 || x.shape.length > 4) {
    throw new LocalgradError(`${where} is no SVHN file: its X is ${x.shape.join("×")}, not 32×32×3×images`);
  }
  if (y.data.length !== count || count === 0) {
    throw new LocalgradError(`${where} is mislabelled: it has ${count} images and ${y.data.length} labels`);
  }
  const labels = Int32Array.from(y.data, (label, image) => {
    if (Number.isInteger(label) && label >= 1 && label <= 10) return label % 10;
    throw new LocalgradError(`${where} is mislabelled: image ${image} has label ${label}, not 1 to 10`);
  });
  const images = new Uint8Array(x.data.length);
  for (let image = 0, to = 0; image < count; image++) {
    for (let row = 0; row < SIZE; row++) {
      for (let column = 0; column < SIZE; column++) {
        let from = image * 3 * PIXELS + column * SIZE + row;
        for (let channel = 0; channel < 3; channel++, from += PIXELS) images[to++] = x.data[from];
      }
    }
  }
  return { images, labels, count };
}

/** SVHN by name. */
export const entry: DatasetEntry = {
  classes: 10,
  size: SIZE,
  recipe: { epochs: 400, batch: 1024, lr: 0.8, warmup: 10 },
  load: async ({ limits = {}, ...options }) => limitImages(await svhn(options), limits),
};
