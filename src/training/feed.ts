import { foldIn, type Key } from "../base/random.ts";
import { readImages } from "../data/augment.ts";
import type { ImageDataset, ImagePart, ImageReader, LabelledImages, StreamedImages } from "../data/images.ts";
import type { Batch } from "../local/method.ts";
import type { Named } from "../nn/named.ts";
import { type Device, type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { iota } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";

/** A batch that will be wanted: the numbers of its images, and the key that varies them, if any. */
export interface Order {
  /** u32 `[batch]`. */
  readonly indices: Uint32Array;
  /** u32[2]; none leaves the images as they are. */
  readonly key?: Key;
}

/** A batch that is there. */
export interface Supplied extends Order {
  /** What a traced step takes for it, see {@link Feed.batch}. */
  readonly data: Named<DeviceArray | HostArray>;
}

/** Labelled images for a device, and how a batch is made of them within a traced step. */
export interface Feed extends AsyncDisposable {
  /** How many images there are. */
  readonly count: number;
  /** What lies on the device throughout; nothing where images are streamed. */
  readonly arrays: Named<DeviceArray>;
  /**
   * The images at `indices` (u32 `[batch]`), normalised, with their labels; augmented by `key` (u32[2]) where one is
   * given. `data` is what {@link Feed.supply} gives for it.
   */
  batch(data: Named<Tensor>, indices: Tensor, key?: Tensor): Batch;
  /** These batches, in their order; streamed images are prepared ahead. */
  supply(orders: Iterable<Order>): AsyncGenerator<Supplied, undefined, void>;
  /** What was made so far of streamed images, see {@link ImageReader.done}. */
  readonly made?: ImageReader["done"];
}

/** Feeds a device with labelled images: from its own memory, or streamed. */
export function openFeed(device: Device, dataset: ImageDataset<ImagePart>, part: ImagePart): Feed {
  return "images" in part ? residentFeed(device, dataset, part) : streamedFeed(dataset, part);
}

/**
 * Images that lie on the device: bytes, in shards no larger than one value may be there. Batches are cropped and
 * mirrored at random where a key is given, see `readImages`.
 */
function residentFeed(device: Device, dataset: ImageDataset<ImagePart>, part: LabelledImages): Feed {
  const { height, width, channels, augmentation } = dataset;
  const size = height * width * channels;
  const rows = Math.max(1, Math.min(part.count, Math.floor(device.backend.target.maxValueBytes / size)));
  const shards: { [first: string]: HostArray } = {};
  for (let first = 0; first < part.count; first += rows) {
    const end = Math.min(part.count, first + rows);
    const bytes = part.images.subarray(first * size, end * size);
    shards[first] = new HostArray(bytes, [end - first, height, width, channels]);
  }
  const arrays = device.put({ shards, labels: new HostArray(part.labels) });
  return {
    count: part.count,
    arrays,
    batch({ shards, labels }, indices, key) {
      const parts = Object.entries(shards).map(([first, bytes]) => ({ first: Number(first), bytes }));
      const images = readImages(parts, indices, dataset, key, augmentation);
      return { ...images, labels: (labels as Tensor).gather(indices) };
    },
    async *supply(orders) {
      for (const order of orders) yield { ...order, data: arrays };
      return undefined;
    },
    [Symbol.asyncDispose]() {
      disposeTree(arrays);
      return Promise.resolve();
    },
  };
}

/** Images made by a reader, which also varies them; a few batches are always being made ahead of use. */
function streamedFeed(dataset: ImageDataset<ImagePart>, part: StreamedImages): Feed {
  const { height, width, channels } = dataset;
  const reader = part.open();
  return {
    count: part.count,
    arrays: {},
    batch({ bytes, labels }) {
      const shard = { first: 0, bytes: bytes as Tensor };
      const images = readImages([shard], iota([shard.bytes.shape[0]], 0, "u32"), dataset);
      return { ...images, labels: labels as Tensor };
    },
    async *supply(orders) {
      const asked: { order: Order; pixels: Promise<Uint8Array> }[] = [];
      for (const order of orders) {
        const pixels = reader.read(order.indices, order.key);
        pixels.catch(() => {}); // told when its turn comes, which may be never
        asked.push({ order, pixels });
        const ahead = Math.max(2, Math.ceil((reader.ahead ?? 0) / order.indices.length));
        if (asked.length > ahead) yield await next();
      }
      while (asked.length > 0) yield await next();
      return undefined;

      async function next(): Promise<Supplied> {
        const { order, pixels } = asked.shift()!;
        const bytes = new HostArray(await pixels, [order.indices.length, height, width, channels]);
        const labels = new HostArray(Int32Array.from(order.indices, (index) => part.labels[index]));
        return { ...order, data: { bytes, labels } };
      }
    },
    get made() {
      return reader.done;
    },
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  };
}

/** The key of the permutation of an epoch, from 0. */
export function permutationKey(seed: Key, epoch: number): Key {
  return foldIn(foldIn(seed, 1), epoch);
}

/** The key that augments the images of a step, from 0. */
export function augmentationKey(seed: Key, step: number): Key {
  return foldIn(foldIn(seed, 2), step);
}
