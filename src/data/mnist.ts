import { LocalgradError } from "../base/errors.ts";
import { expectOptions, shown } from "../base/expect.ts";
import { publishedLoad } from "./checked_load.ts";
import type { DatasetEntry, Recipe } from "./entry.ts";
import { gunzip } from "./gzip.ts";
import { type IdxArray, readIdx } from "./idx.ts";
import type { Augmentation, ImageDataset, LabelledImages } from "./images.ts";
import { checkMd5, fileOf, type Publication, type PublishedOptions } from "./publication.ts";
import { PUBLISHED_KINDS, readPublished } from "./published.ts";

/** Source of {@link mnist} or {@link fashionMnist} and progress of its download. */
export interface MnistOptions extends PublishedOptions {
  /**
   * Values per pixel: 3 equal ones, the default, for networks that take RGB, as all of `models` do; or 1, for networks of
   * your own.
   */
  readonly channels?: 1 | 3;
}

/** The layout of a published set; tests serve small sets of the same layout. */
export interface MnistLayout {
  /** Its name on the command line. */
  readonly name: string;
  /** Its name in messages. */
  readonly title: string;
  /** Its home page. */
  readonly home: string;
  /** URL of the folder of the files. */
  readonly url: string;
  /** Its folder in the cache. */
  readonly folder: string;
  /** The name of each class. */
  readonly classes: readonly string[];
  /** Mean and standard deviation of the training pixels, relative to 255. */
  readonly statistics: { readonly mean: number; readonly std: number };
  readonly augmentation: Augmentation;
  /** Images of each part. */
  readonly images: { readonly train: number; readonly test: number };
  /** Length and MD5 of each file: one as long must have that MD5. */
  readonly published: Readonly<Record<string, { readonly bytes: number; readonly md5: string }>>;
}

const SIZE = 28;

// Lengths of the files at the mirrors; the MD5 are those of torchvision and, of Fashion-MNIST, of its home page too.
const MNIST: MnistLayout = {
  name: "mnist",
  title: "MNIST",
  home: "http://yann.lecun.com/exdb/mnist/",
  url: "https://ossci-datasets.s3.amazonaws.com/mnist/",
  folder: "mnist",
  classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
  statistics: { mean: 0.1307, std: 0.3081 },
  augmentation: { border: 2, fill: "zero", flip: false },
  images: { train: 60000, test: 10000 },
  published: {
    "train-images-idx3-ubyte.gz": { bytes: 9912422, md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873" },
    "train-labels-idx1-ubyte.gz": { bytes: 28881, md5: "d53e105ee54ea40749a09fcbcd1e9432" },
    "t10k-images-idx3-ubyte.gz": { bytes: 1648877, md5: "9fb629c4189551a2d022fa330f9573f3" },
    "t10k-labels-idx1-ubyte.gz": { bytes: 4542, md5: "ec29112dd5afa0611ce80d1b7f02629c" },
  },
};

const FASHION: MnistLayout = {
  name: "fashion-mnist",
  title: "Fashion-MNIST",
  home: "https://github.com/zalandoresearch/fashion-mnist",
  url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
  folder: "fashion-mnist",
  classes: [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
  ],
  statistics: { mean: 0.286, std: 0.353 },
  augmentation: { border: 2, fill: "zero", flip: true },
  images: { train: 60000, test: 10000 },
  published: {
    "train-images-idx3-ubyte.gz": { bytes: 26421880, md5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d" },
    "train-labels-idx1-ubyte.gz": { bytes: 29515, md5: "25c81989df183df01b3e8a0aad5dffbe" },
    "t10k-images-idx3-ubyte.gz": { bytes: 4422102, md5: "bef4ecab320f06d8554ea6380940ec79" },
    "t10k-labels-idx1-ubyte.gz": { bytes: 5148, md5: "bb300cfdad3c16e7a12a480ee83cd310" },
  },
};

/**
 * MNIST (LeCun, Cortes and Burges) in its four official IDX files, compressed or not: 60,000 training and 10,000 test
 * images of handwritten digits, 28×28 grey pixels in ten classes. Augmentation is ours: crops from a black border of 2
 * pixels, no mirroring.
 *
 * @example From a folder, offline
 * ```ts ignore
 * import { data } from "@localgrad/localgrad";
 * const set = await data.mnist({ path: "downloads/mnist" });
 * console.log(set.train.count); // 60000
 * ```
 *
 * @throws {LocalgradError} if files are missing, truncated, damaged or not of this set, or cannot be downloaded.
 */
export function mnist(options: MnistOptions = {}): Promise<ImageDataset> {
  return loadMnist(options, MNIST);
}

/**
 * Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv 1708.07747) in its four official IDX files, compressed or not:
 * 60,000 training and 10,000 test images of clothes, 28×28 grey pixels in ten classes. Augmentation is ours: crops from a
 * black border of 2 pixels, mirroring.
 *
 * @example From a folder, offline
 * ```ts ignore
 * import { data } from "@localgrad/localgrad";
 * const set = await data.fashionMnist({ path: "downloads/fashion" });
 * console.log(set.classes[1]); // Trouser
 * ```
 *
 * @throws {LocalgradError} if files are missing, truncated, damaged or not of this set, or cannot be downloaded.
 */
export function fashionMnist(options: MnistOptions = {}): Promise<ImageDataset> {
  return loadMnist(options, FASHION);
}

/** {@link mnist} with a given layout. */
export async function loadMnist(options: MnistOptions, layout: MnistLayout): Promise<ImageDataset> {
  const { name, classes, statistics, augmentation } = layout;
  expectOptions(`the loader of ${layout.title}`, options, { ...PUBLISHED_KINDS, channels: "number?" });
  const { channels = 3, ...source } = options;
  if (channels !== 1 && channels !== 3) {
    throw new LocalgradError(`${name}: channels is 1 or 3, not ${shown(channels)}`);
  }
  const arrays = new Map<string, IdxArray>();
  await readPublished(publication(layout, arrays), source);
  const part = (prefix: "train" | "t10k"): LabelledImages => {
    const [images, labels] = [fileOf(arrays, `${prefix}-images`), fileOf(arrays, `${prefix}-labels`)];
    const [count = 0] = images.shape;
    if (labels.data.length !== count) {
      throw new LocalgradError(
        `${source.path ?? layout.folder}: ${prefix}-images has ${count} images and ${prefix}-labels ` +
          `${labels.data.length} labels; one of them belongs to another set; download them again from ${layout.home}`,
      );
    }
    return { images: repeated(images.data, channels), labels: Int32Array.from(labels.data), count };
  };
  return {
    name,
    classes,
    height: SIZE,
    width: SIZE,
    channels,
    mean: Array.from({ length: channels }, () => statistics.mean),
    std: Array.from({ length: channels }, () => statistics.std),
    augmentation,
    train: part("train"),
    test: part("t10k"),
  };
}

/** Grey pixels with each value repeated for each channel. */
function repeated(grey: Uint8Array, channels: number): Uint8Array {
  if (channels === 1) return grey;
  const pixels = new Uint8Array(grey.length * channels);
  let to = 0;
  for (const value of grey) {
    pixels.fill(value, to, to + channels);
    to += channels;
  }
  return pixels;
}

/** The publication of a layout; fills `arrays`, by names such as `train-images`. */
function publication(layout: MnistLayout, arrays: Map<string, IdxArray>): Publication {
  const { title, home, url, folder, images, classes } = layout;
  const published = Object.entries(layout.published);
  const set: Publication = {
    name: title,
    home,
    what: `the four files of ${title}`,
    folder,
    files: Object.fromEntries(
      published.map(([name, { bytes }]) => [name, Math.max(bytes, unpackedBytes(name))]),
    ),
    aliases: Object.fromEntries(published.map(([name]) => {
      const plain = name.replace(".gz", "");
      const most = unpackedBytes(name);
      return [name, { [plain]: most, [plain.replace("-idx", ".idx")]: most }];
    })),
    from: {
      each: Object.fromEntries(
        published.map(([name, { bytes, md5 }]) => [name, { url: url + name, bytes, md5 }]),
      ),
    },
    md5: Object.fromEntries(published.map(([name, { md5 }]) => [name, md5])),
    async check(bytes, name, where) {
      const official = layout.published[name];
      if (official !== undefined && bytes.length === official.bytes) {
        checkMd5(bytes, official.md5, where, set);
      }
      const compressed = bytes[0] === 0x1f && bytes[1] === 0x8b;
      const array = readIdx(compressed ? await unpacked(bytes, where, unpackedBytes(name)) : bytes, where);
      if (name.includes("images")) checkImages(array, where, title);
      else checkLabels(array, where, title, classes.length);
      arrays.set(name.split("-").slice(0, 2).join("-"), array);
    },
  };
  return set;

  /** The bytes of a published file when unpacked. */
  function unpackedBytes(name: string): number {
    const count = name.startsWith("train") ? images.train : images.test;
    return name.includes("images") ? 16 + count * SIZE * SIZE : 8 + count;
  }
}

/** Decompresses a file. */
async function unpacked(bytes: Uint8Array, where: string, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: BlobPart[] = [];
  for await (const chunk of gunzip(once(bytes), where, most)) chunks.push(new Uint8Array(chunk));
  return await new Blob(chunks).bytes();
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function checkImages({ shape }: IdxArray, where: string, title: string): void {
  const [count = 0, ...extents] = shape;
  if (String(extents) === String([SIZE, SIZE]) && count > 0) return;
  throw new LocalgradError(
    `${where} is not of ${title}: it has an array of ${shape.join("×")}, not images×${SIZE}×${SIZE}`,
  );
}

function checkLabels({ shape, data }: IdxArray, where: string, title: string, classes: number): void {
  if (shape.length !== 1) {
    throw new LocalgradError(
      `${where} is not of ${title}: it has an array of ${shape.join("×")}, not of labels`,
    );
  }
  const wrong = data.findIndex((label) => label >= classes);
  if (wrong < 0) return;
  throw new LocalgradError(
    `${where} is mislabelled: image ${wrong} has label ${data[wrong]}, not 0 to ${classes - 1}`,
  );
}

/** A short recipe of ours; both sets need far fewer epochs than CIFAR-10. */
const recipe: Recipe = { epochs: 30, batch: 128, lr: 0.1, warmup: 1 };

const entryOf = (
  { name, classes, images, statistics: { mean, std } }: MnistLayout,
  load: (options: PublishedOptions) => Promise<ImageDataset>,
): DatasetEntry => ({
  classes: classes.length,
  names: classes,
  size: SIZE,
  images,
  preprocessing: { mean: [mean, mean, mean], std: [std, std, std] },
  recipe,
  load: publishedLoad(name, load),
});

/** MNIST for the command line. */
export const entry: DatasetEntry = entryOf(MNIST, mnist);

/** Fashion-MNIST for the command line. */
export const fashionEntry: DatasetEntry = entryOf(FASHION, fashionMnist);
