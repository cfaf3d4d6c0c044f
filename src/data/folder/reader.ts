import { at } from "../../base/at.ts";
import { foldIn, type Key, uniform } from "../../base/random.ts";
import type { ImageReader, StreamedImages } from "../images.ts";
import { Decoders, DRAWS } from "./decoders.ts";

/** Up to this many files are decoded before training, to find damaged ones; of more, only both ends are checked. */
const CHECKED = 5000;

/** Images requested ahead of use, per thread. */
const AHEAD = 4;

/** The file of an image; if its content is given, its name in messages. */
export interface ImageFile {
  readonly path: string;
  readonly bytes?: Uint8Array;
}

/** Decoding threads that run while anything uses them. */
export class SharedDecoders {
  readonly threads: number;
  #decoders: Decoders | undefined;
  #users = 0;

  constructor(threads: number) {
    this.threads = threads;
  }

  acquire(): Decoders {
    this.#users++;
    return this.#decoders ??= new Decoders(this.threads);
  }

  async release(): Promise<void> {
    if (--this.#users > 0) return;
    const decoders = this.#decoders;
    this.#decoders = undefined;
    await decoders?.[Symbol.asyncDispose]();
  }
}

/** Labelled image files, which threads decode on demand to images of `size`. */
export function streamed(
  files: readonly ImageFile[],
  labels: Int32Array,
  size: readonly [height: number, width: number],
  pool: SharedDecoders,
): StreamedImages {
  return { labels, count: labels.length, open: () => new FileReader(files, size, pool) };
}

class FileReader implements ImageReader {
  readonly ahead: number;
  readonly #files: readonly ImageFile[];
  readonly #size: readonly [height: number, width: number];
  readonly #pool: SharedDecoders;
  readonly #decoders: Decoders;

  constructor(
    files: readonly ImageFile[],
    size: readonly [height: number, width: number],
    pool: SharedDecoders,
  ) {
    this.ahead = AHEAD * pool.threads;
    this.#files = files;
    this.#size = size;
    this.#pool = pool;
    this.#decoders = pool.acquire();
  }

  get done(): ImageReader["done"] {
    return this.#decoders.done;
  }

  async read(indices: Uint32Array, key?: Key): Promise<Uint8Array> {
    const each = this.#size[0] * this.#size[1] * 3;
    const pixels = new Uint8Array(indices.length * each);
    // Without augmentation each image is decoded once, such as the one that pads the last batch.
    const same = new Map<number, Promise<Uint8Array>>();
    await Promise.all(Array.from(indices, async (index, position) => {
      let image = same.get(index);
      if (image === undefined) {
        image = this.#decode(index, key && foldIn(key, position));
        if (key === undefined) same.set(index, image);
      }
      pixels.set(await image, position * each);
    }));
    return pixels;
  }

  #decode(index: number, key: Key | undefined): Promise<Uint8Array> {
    const draws = key === undefined ? {} : { draws: uniform(key, DRAWS) };
    return this.#decoders.decode({ ...at(this.#files, index), size: this.#size, ...draws });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#pool.release();
  }
}

/** Rejects a set with a file that cannot be decoded, naming it. */
export async function checkFiles(
  files: readonly ImageFile[],
  pool: SharedDecoders,
  onCheck: ((done: number, total: number) => void) | undefined,
): Promise<void> {
  const decoders = pool.acquire();
  try {
    const check = files.length <= CHECKED ? "whole" : "ends";
    const rest = files.values(); // shared by all workers
    let done = 0;
    let fault: { readonly error: unknown } | undefined;
    const work = async () => {
      for (const file of rest) {
        if (fault !== undefined) return;
        await decoders.check({ ...file, check }).catch((error) => fault ??= { error });
        onCheck?.(++done, files.length);
      }
    };
    await Promise.all(Array.from({ length: AHEAD * pool.threads }, work));
    if (fault !== undefined) throw fault.error;
  } finally {
    await pool.release();
  }
}
