import { createHash } from "node:crypto";
import { LocalgradError } from "../errors.ts";
import { cacheDirectory } from "./cache.ts";
import type { ImageDataset, LabelledImages } from "./images.ts";
import { readTar } from "./tar.ts";

/** Where {@link cifar10} gets the set from, and who is told about a download. */
export interface Cifar10Options {
  /**
   * A folder that holds the six official files, or holds their folder `cifar-10-batches-bin`, or the official archive
   * `cifar-10-binary.tar.gz` itself. Without it, the set is taken from the cache, and downloaded into it if need be.
   */
  readonly path?: string;
  /** Folder for a download; by default `localgrad` in the user's cache folder (`XDG_CACHE_HOME` or the system's own). */
  readonly cache?: string;
  /** Called as a download goes on, with bytes received and, where the server tells, in all. */
  readonly onProgress?: (received: number, total: number | undefined) => void;
}

/** The published set; tests read small ones in the same layout. */
export interface Cifar10Layout {
  /** Where the archive is published. */
  readonly url: string;
  /** Records in each of the six files. */
  readonly records: number;
  /** The MD5 of each file, in hexadecimal; files not named here are not checked. */
  readonly md5: Readonly<Record<string, string>>;
}

const HOME_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html";
const FOLDER = "cifar-10-batches-bin";
const TEST_FILE = "test_batch.bin";
const TRAIN_FILES = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`);
const FILES = [...TRAIN_FILES, TEST_FILE];
const PIXELS = 32 * 32;
const RECORD = 1 + 3 * PIXELS; // the label, then the red, the green and the blue plane

const OFFICIAL: Cifar10Layout = {
  url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
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

type Files = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/**
 * CIFAR-10 (Krizhevsky, 2009) in its official binary form: 50,000 training and 10,000 test images of 32×32 RGB pixels
 * in ten classes. The files are checked against their published MD5 sums. The statistics are those InfoPro and MAN
 * normalise with.
 *
 * @example From a folder or archive, without a network
 * ```ts ignore
 * import { data } from "@localgrad/localgrad";
 * const set = await data.cifar10({ path: "downloads/cifar-10-binary.tar.gz" });
 * console.log(set.train.count); // 50000
 * ```
 *
 * @throws {LocalgradError} where files are missing, truncated, damaged or not this set, or cannot be downloaded.
 */
export function cifar10(options: Cifar10Options = {}): Promise<ImageDataset> {
  return loadCifar10(options, OFFICIAL);
}

/** {@link cifar10} of a given layout. */
export async function loadCifar10(options: Cifar10Options, layout: Cifar10Layout): Promise<ImageDataset> {
  const files = options.path === undefined
    ? await readCached(options, layout)
    : await readPath(options.path, layout);
  return {
    name: "cifar10",
    classes: CLASSES,
    height: 32,
    width: 32,
    channels: 3,
    mean: [125.3 / 255, 123.0 / 255, 113.9 / 255],
    std: [63.0 / 255, 62.1 / 255, 66.7 / 255],
    train: decode(TRAIN_FILES.map((name) => files.get(name)!)),
    test: decode([files.get(TEST_FILE)!]),
  };
}

async function stat(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function readPath(path: string, layout: Cifar10Layout): Promise<Files> {
  const info = await stat(path);
  if (info === undefined) {
    throw new LocalgradError(`${path} does not exist; give the folder or archive of CIFAR-10 (${HOME_PAGE})`);
  }
  if (!info.isDirectory) return readArchive((await Deno.open(path)).readable, path, layout);
  const inner = `${path}/${FOLDER}`;
  return readFolder(await stat(inner) ? inner : path, layout);
}

async function readFolder(folder: string, layout: Cifar10Layout): Promise<Files> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const name of FILES) {
    const path = `${folder}/${name}`;
    if (!await stat(path)) throw await missing(folder, name);
    files.set(name, check(await Deno.readFile(path), name, path, layout));
  }
  return files;
}

/** The error for a folder without file `name`, with the likely reason. */
async function missing(folder: string, name: string): Promise<LocalgradError> {
  const binary = `get "CIFAR-10 binary version" from ${HOME_PAGE}`;
  if (await stat(`${folder}/data_batch_1`)) {
    return new LocalgradError(`${folder} holds CIFAR-10 in its Python form; ${binary}`);
  }
  if (await stat(`${folder}/train.bin`)) return new LocalgradError(`${folder} holds CIFAR-100; ${binary}`);
  return new LocalgradError(`${folder} has no ${name}; ${binary} and unpack it there`);
}

async function readArchive(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  name: string,
  layout: Cifar10Layout,
): Promise<Files> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  try {
    for await (const file of readTar(stream.pipeThrough(new DecompressionStream("gzip")), name)) {
      const base = file.path.slice(file.path.lastIndexOf("/") + 1);
      if (FILES.includes(base)) files.set(base, check(file.bytes, base, `${name}: ${base}`, layout));
    }
  } catch (error) {
    if (error instanceof LocalgradError || error instanceof DownloadError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new LocalgradError(`${name} is no whole gzip archive (${reason}); get it again from ${HOME_PAGE}`);
  }
  const absent = FILES.find((file) => !files.has(file));
  if (absent !== undefined) {
    throw new LocalgradError(`${name} has no ${absent}; get "CIFAR-10 binary version" from ${HOME_PAGE}`);
  }
  return files;
}

/** Checks the size, the labels and the MD5 of one of the six files. `where` is what messages call it. */
function check(
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
  where: string,
  layout: Cifar10Layout,
): Uint8Array<ArrayBuffer> {
  const expected = layout.records * RECORD;
  if (bytes.length !== expected) {
    const how = bytes.length < expected ? "truncated" : "too long";
    throw new LocalgradError(
      `${where} is ${how}: ${bytes.length} bytes instead of ${expected}; get it again from ${HOME_PAGE}`,
    );
  }
  for (let record = 0; record < layout.records; record++) {
    const label = bytes[record * RECORD];
    if (label >= CLASSES.length) {
      throw new LocalgradError(
        `${where} is mislabelled: record ${record} has class ${label}, classes end at ${
          CLASSES.length - 1
        }; get it again from ${HOME_PAGE}`,
      );
    }
  }
  const md5 = layout.md5[name];
  if (md5 !== undefined && createHash("md5").update(bytes).digest("hex") !== md5) {
    throw new LocalgradError(
      `${where} is damaged: its MD5 is not the published ${md5}; get it again from ${HOME_PAGE}`,
    );
  }
  return bytes;
}

/** Records of a label and three colour planes → labels and pixels. */
function decode(files: readonly Uint8Array[]): LabelledImages {
  const count = files.reduce((sum, file) => sum + file.length / RECORD, 0);
  const images = new Uint8Array(count * 3 * PIXELS);
  const labels = new Int32Array(count);
  let image = 0;
  for (const file of files) {
    for (let at = 0; at < file.length; at += RECORD, image++) {
      labels[image] = file[at];
      const red = at + 1, green = red + PIXELS, blue = green + PIXELS;
      for (let pixel = 0, to = image * 3 * PIXELS; pixel < PIXELS; pixel++, to += 3) {
        images[to] = file[red + pixel];
        images[to + 1] = file[green + pixel];
        images[to + 2] = file[blue + pixel];
      }
    }
  }
  return { images, labels, count };
}

/** A download that broke off; kept apart from a damaged archive. */
class DownloadError extends Error {}

async function readCached(options: Cifar10Options, layout: Cifar10Layout): Promise<Files> {
  const cache = options.cache ?? await cacheDirectory();
  const folder = `${cache}/${FOLDER}`;
  if (await stat(folder)) return readFolder(folder, layout);
  let files: Files;
  try {
    files = await readArchive(await download(layout.url, options.onProgress), layout.url, layout);
  } catch (error) {
    if (!(error instanceof DownloadError)) throw error;
    throw new LocalgradError(
      `${layout.url} could not be downloaded (${error.message}); get it by other means and give its path`,
    );
  }
  await Deno.mkdir(cache, { recursive: true });
  const part = await Deno.makeTempDir({ dir: cache, prefix: `${FOLDER}.`, suffix: ".part" });
  try {
    for (const [name, bytes] of files) await Deno.writeFile(`${part}/${name}`, bytes);
    await Deno.rename(part, folder); // whole or not at all
  } catch (error) {
    await Deno.remove(part, { recursive: true });
    if (!await stat(folder)) throw error; // else another process put it there meanwhile
  }
  return files;
}

async function download(
  url: string,
  onProgress: Cifar10Options["onProgress"],
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const failed = (error: unknown) =>
    new DownloadError(error instanceof Error ? error.message : String(error));
  const response = await fetch(url).catch((error) => Promise.reject(failed(error)));
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new DownloadError(`HTTP status ${response.status}`);
  }
  const length = Number(response.headers.get("content-length"));
  const total = length > 0 ? length : undefined;
  const chunks = response.body.getReader();
  let received = 0;
  return new ReadableStream({
    async pull(controller) {
      try {
        const { value, done } = await chunks.read();
        if (done) return controller.close();
        received += value.length;
        onProgress?.(received, total);
        controller.enqueue(value);
      } catch (error) {
        controller.error(failed(error));
      }
    },
    cancel: (reason) => chunks.cancel(reason),
  });
}
