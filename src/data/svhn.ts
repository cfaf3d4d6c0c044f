import { LocalgradError } from "../base/errors.ts";
import type { DatasetEntry } from "./entry.ts";
import { type ImageDataset, type LabelledImages, limitImages } from "./images.ts";
import { type MatArray, readMat } from "./mat.ts";
import { checkMd5, type Publication, type PublishedOptions } from "./publication.ts";
import { readPublished } from "./published.ts";

/** Where {@link svhn} gets the set from, and who is told about a download. */
export type SvhnOptions = PublishedOptions;

/** The published set; tests serve small ones in the same layout. */
export interface SvhnLayout {
  /** The folder that the files are published in. */
  readonly url: string;
  /** Images, length and MD5 of each file: none may hold more images, and one with as many must have that sum. */
  readonly published: Readonly<
    Record<string, { readonly images: number; readonly bytes?: number; readonly md5: string }>
  >;
}

const HOME_PAGE = "http://ufldl.stanford.edu/housenumbers/";
const TRAIN_FILE = "train_32x32.mat";
const TEST_FILE = "test_32x32.mat";
const SIZE = 32;
const PIXELS = SIZE * SIZE;
const CLASSES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] as const;

// The home page states no checksums; these are the ones torchvision checks. The lengths are those of its downloads.
const OFFICIAL: SvhnLayout = {
  url: HOME_PAGE,
  published: {
    [TRAIN_FILE]: { images: 73257, bytes: 182040794, md5: "e26dedcc434d2e4c54c9b2d4a06d8373" },
    [TEST_FILE]: { images: 26032, bytes: 64275384, md5: "eb5a983be6a315427106f1b164d9cef3" },
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
    files: byName((name) => mostBytes(layout.published[name].images)),
    from: {
      each: byName((name) => {
        const { bytes, md5 } = layout.published[name];
        return { url: layout.url + name, md5, ...(bytes === undefined ? {} : { bytes }) };
      }),
    },
    md5: byName((name) => layout.published[name].md5),
    mistaken: {
      "train/digitStruct.mat": "SVHN in format 1 (whole numbers)",
      "train.tar.gz": "SVHN in format 1 (whole numbers)",
    },
    check(bytes, name, where) {
      const { images, md5 } = layout.published[name];
      const part = decode(bytes, where, mostBytes(images));
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

function byName<Value>(of: (name: string) => Value): Readonly<Record<string, Value>> {
  return { [TRAIN_FILE]: of(TRAIN_FILE), [TEST_FILE]: of(TEST_FILE) };
}

const LABEL_BYTES = 8; // as the numbers of MATLAB are; the published ones take a byte
const AROUND = 1 << 16; // header, tags, other small arrays

/** The most bytes of a file with so many images, inflated or not. */
function mostBytes(images: number): number {
  return images * (3 * PIXELS + LABEL_BYTES) + AROUND;
}

/** `X` `[32, 32, 3, images]`, rows fastest, and `y` of 1 … 10, where 10 is the digit 0. */
function decode(bytes: Uint8Array, where: string, most: number): LabelledImages {
  const arrays = readMat(bytes, where, most);
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
  expectBytes(x.data, where);
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

/** Refuses pixels that are not whole numbers from 0 to 255, such as those that were scaled to [0, 1]. */
function expectBytes(pixels: MatArray["data"], where: string): void {
  if (pixels instanceof Uint8Array) return;
  const wrong = pixels.findIndex((value) => !Number.isInteger(value) || value < 0 || value > 255);
  if (wrong < 0) return;
  throw new LocalgradError(
    `${where}: value ${wrong} of X is ${pixels[wrong]}, but pixels are whole numbers from 0 to 255; ` +
      `if they were scaled, save them as uint8 of 0 to 255`,
  );
}

/** SVHN by name. */
export const entry: DatasetEntry = {
  classes: 10,
  size: SIZE,
  recipe: { epochs: 400, batch: 1024, lr: 0.8, warmup: 10 },
  load: async ({ limits = {}, ...options }) => limitImages(await svhn(options), limits),
};
