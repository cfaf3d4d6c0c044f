import { publishedLoad } from "./checked_load.ts";
import { LocalgradError } from "../base/errors.ts";
import type { DatasetEntry } from "./entry.ts";
import type { ImageDataset, LabelledImages } from "./images.ts";
import { type MatArray, readMat } from "./mat.ts";
import { interleave } from "./planes.ts";
import { checkMd5, fileOf, type Publication, type PublishedOptions } from "./publication.ts";
import { readPublished } from "./published.ts";
import type { Preprocessing } from "./signature.ts";

/** Statistics of its pixels. */
const preprocessing: Preprocessing = {
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
};

/** Source of {@link svhn} and progress of its download. */
export type SvhnOptions = PublishedOptions;

/** The layout of the published set; tests serve small sets of the same layout. */
export interface SvhnLayout {
  /** URL of the folder of the files. */
  readonly url: string;
  /** The files by name. */
  readonly published: Readonly<Record<string, SvhnFile>>;
}

/** A published file: it may not have more images, and one with as many must have that MD5. */
interface SvhnFile {
  readonly images: number;
  readonly bytes?: number;
  readonly md5: string;
}

const HOME_PAGE = "http://ufldl.stanford.edu/housenumbers/";
const TRAIN_FILE = "train_32x32.mat";
const TEST_FILE = "test_32x32.mat";
const SIZE = 32;
const IMAGE = 3 * SIZE * SIZE;
const CLASSES = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] as const;

// The home page publishes no checksums; these are torchvision's. The lengths are those of the server's files.
const OFFICIAL: SvhnLayout = {
  url: HOME_PAGE,
  published: {
    [TRAIN_FILE]: { images: 73257, bytes: 182040794, md5: "e26dedcc434d2e4c54c9b2d4a06d8373" },
    [TEST_FILE]: { images: 26032, bytes: 64275384, md5: "eb5a983be6a315427106f1b164d9cef3" },
  },
};

/**
 * The Street View House Numbers, format 2 (Netzer et al., 2011), in their official MATLAB files: 73,257 training and
 * 26,032 test images of 32×32 RGB pixels in ten classes, the digits; the `extra` images are not used. Normalisation and
 * augmentation are those of InfoPro and MAN: crops from a black border of 2 pixels, no mirroring.
 *
 * @example From a folder with `train_32x32.mat` and `test_32x32.mat`
 * ```ts ignore
 * import { data } from "@localgrad/localgrad";
 * const set = await data.svhn({ path: "downloads/svhn" });
 * console.log(set.train.count); // 73257
 * ```
 *
 * @throws {LocalgradError} if files are missing, truncated, damaged or not of this set, or cannot be downloaded.
 */
export function svhn(options: SvhnOptions = {}): Promise<ImageDataset> {
  return loadSvhn(options, OFFICIAL);
}

/** {@link svhn} with a given layout. */
export async function loadSvhn(
  options: SvhnOptions,
  { url, published }: SvhnLayout,
): Promise<ImageDataset> {
  const files = Object.entries(published);
  const parts = new Map<string, LabelledImages>();
  const set: Publication = {
    name: "SVHN",
    home: HOME_PAGE,
    what: '"Format 2: Cropped Digits"',
    folder: "svhn",
    files: Object.fromEntries(files.map(([name, { images }]) => [name, mostBytes(images)])),
    from: {
      each: Object.fromEntries(
        files.map(([name, { bytes, md5 }]) => [
          name,
          { url: url + name, md5, ...(bytes === undefined ? {} : { bytes }) },
        ]),
      ),
    },
    md5: Object.fromEntries(files.map(([name, { md5 }]) => [name, md5])),
    mistaken: {
      "train/digitStruct.mat": "format 1 of SVHN (whole numbers)",
      "train.tar.gz": "format 1 of SVHN (whole numbers)",
    },
    check(bytes, name, where) {
      const official = published[name];
      if (official === undefined) return;
      const part = decode(bytes, where, mostBytes(official.images));
      if (part.count === official.images) checkMd5(bytes, official.md5, where, set);
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
    ...preprocessing,
    augmentation: { border: 2, fill: "zero", flip: false },
    train: fileOf(parts, TRAIN_FILE),
    test: fileOf(parts, TEST_FILE),
  };
}

const LABEL_BYTES = 8; // a MATLAB double; the published labels take a byte each
const OVERHEAD = 1 << 16; // header, tags, other small arrays

/** The most bytes of a file with this many images, compressed or not. */
function mostBytes(images: number): number {
  return images * (IMAGE + LABEL_BYTES) + OVERHEAD;
}

/** Decodes `X`, `[32, 32, 3, images]` with rows fastest, and `y` from 1 to 10, where 10 is the digit 0. */
function decode(bytes: Uint8Array, where: string, most: number): LabelledImages {
  const arrays = readMat(bytes, where, most);
  const [x, y] = [arrays.get("X"), arrays.get("y")];
  if (x === undefined || y === undefined) {
    const names = [...arrays.keys()].join(", ") || "none";
    throw new LocalgradError(`${where} is not an SVHN file: it has the arrays ${names}, not X and y`);
  }
  const [rows, columns, channels, count = 1] = x.shape; // MATLAB drops a last extent of 1
  if (rows !== SIZE || columns !== SIZE || channels !== 3 || x.shape.length > 4) {
    throw new LocalgradError(
      `${where} is not an SVHN file: its X is ${x.shape.join("×")}, not 32×32×3×images`,
    );
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
  for (let start = 0; start < images.length; start += IMAGE) {
    const end = start + IMAGE;
    interleave(x.data.subarray(start, end), images.subarray(start, end), SIZE, "columns");
  }
  return { images, labels, count };
}

/** Rejects pixels that are not whole numbers from 0 to 255, such as pixels scaled to [0, 1]. */
function expectBytes(pixels: MatArray["data"], where: string): void {
  if (pixels instanceof Uint8Array) return;
  const wrong = pixels.findIndex((value) => !Number.isInteger(value) || value < 0 || value > 255);
  if (wrong < 0) return;
  throw new LocalgradError(
    `${where}: value ${wrong} of X is ${pixels[wrong]}, but pixels are whole numbers from 0 to 255; ` +
      `if they were scaled, save them as uint8 from 0 to 255`,
  );
}

/** SVHN for the command line. */
export const entry: DatasetEntry = {
  classes: 10,
  names: CLASSES,
  size: SIZE,
  images: { train: 73257, test: 26032 },
  preprocessing,
  recipe: { epochs: 400, batch: 1024, lr: 0.8, warmup: 10 },
  load: publishedLoad("svhn", svhn),
};
