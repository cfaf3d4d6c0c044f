import { namedLeaves } from "../artifacts/network_values.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { foldIn, type Key } from "../base/random.ts";
import { readImages } from "../data/augment.ts";
import type { ImageDataset, ImagePart, ImageReader, LabelledImages, StreamedImages } from "../data/images.ts";
import type { Batch } from "../local/method.ts";
import { type Share, shareOf } from "../local/shares.ts";
import { descend, type Named } from "../nn/named.ts";
import { type Device, type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { iota } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import { Tensor } from "../trace/tensor.ts";

/** A batch to be supplied: the indices of its images and the key that augments them. */
export interface BatchRequest {
  /** u32 `[batch]`. */
  readonly indices: Uint32Array;
  /** u32[2]; without one the images are not augmented. */
  readonly key?: Key;
}

/** A supplied batch. */
export interface SuppliedBatch extends BatchRequest {
  /** The arguments that a traced step takes for it, see {@link Feed.batch}. */
  readonly data: Named<DeviceArray | HostArray>;
}

/** Labelled images for a device, and the traced function that makes batches of them. */
export interface Feed extends AsyncDisposable {
  /** Number of images. */
  readonly count: number;
  /** Arrays that stay on the device; none if images are streamed. */
  readonly arrays: Named<DeviceArray>;
  /**
   * Within a traced function: the images at `indices` (u32 `[batch]`), normalised, with their labels; augmented by `key`
   * (u32[2]) if one is given. `data` is the {@link SuppliedBatch.data} of the batch. Of a batch that processes share, only
   * the images of `share`, each augmented as in the whole batch.
   */
  batch(data: Named<Tensor>, indices: Tensor, key?: Tensor, share?: Share): Batch;
  /** Supplies these batches in order; streamed images are prepared ahead. */
  supply(requests: Iterable<BatchRequest>): AsyncGenerator<SuppliedBatch, undefined, void>;
  /** Streamed images made so far, see {@link ImageReader.done}. */
  readonly made?: ImageReader["done"] | undefined;
}

/** What a feed knows of a data set: all but its parts. */
type Pictured = Omit<ImageDataset<ImagePart>, "train" | "test">;

/** Opens a feed of a part: resident in device memory if it is in memory, else streamed. */
export function openFeed(device: Device, dataset: Pictured, part: ImagePart): Feed {
  return "images" in part ? residentFeed(device, dataset, part) : streamedFeed(dataset, part);
}

/**
 * Images resident on the device: bytes, in shards no larger than the device allows a value to be. Batches are cropped
 * and mirrored at random if a key is given, see `readImages`.
 */
function residentFeed(device: Device, dataset: Pictured, part: LabelledImages): Feed {
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
    batch(data, indices, key, share = all(indices)) {
      const shards = namedLeaves(descend(data, "shards")).map(([first, bytes]) => ({
        first: Number(first),
        bytes,
      }));
      const images = readImages(shards, indices, dataset, key, augmentation, share);
      const own = indices.slice([share.from], [share.to]);
      return { ...images, labels: tensorIn(data, "labels").gather(own) };
    },
    async *supply(requests) {
      for (const request of requests) yield { ...request, data: arrays };
      return undefined;
    },
    [Symbol.asyncDispose]() {
      disposeTree(arrays);
      return Promise.resolve();
    },
  };
}

/** A batch that a reader is making. */
interface Requested {
  readonly request: BatchRequest;
  readonly pixels: Promise<Uint8Array>;
}

/** Images made and augmented by a reader, which always works a few batches ahead. */
function streamedFeed(dataset: Pictured, part: StreamedImages): Feed {
  const { height, width, channels } = dataset;
  const reader = part.open();
  return {
    count: part.count,
    arrays: {},
    batch(data, indices, _key, share = all(indices)) {
      const shard = { first: 0, bytes: tensorIn(data, "bytes") };
      const order = iota(indices.shape, 0, "u32");
      const images = readImages([shard], order, dataset, undefined, undefined, share);
      return { ...images, labels: tensorIn(data, "labels").slice([share.from], [share.to]) };
    },
    async *supply(requests) {
      const requested: Requested[] = [];
      for (const request of requests) {
        const pixels = reader.read(request.indices, request.key);
        pixels.catch(() => {}); // thrown when the batch is supplied, if it ever is
        requested.push({ request, pixels });
        const ahead = Math.max(2, Math.ceil((reader.ahead ?? 0) / request.indices.length));
        const next = requested.length > ahead ? requested.shift() : undefined;
        if (next !== undefined) yield await supplied(next);
      }
      for (const next of requested) yield await supplied(next);
      return undefined;

      async function supplied({ request, pixels }: Requested): Promise<SuppliedBatch> {
        const bytes = new HostArray(await pixels, [request.indices.length, height, width, channels]);
        const labels = new HostArray(Int32Array.from(request.indices, (index) => at(part.labels, index)));
        return { ...request, data: { bytes, labels } };
      }
    },
    get made() {
      return reader.done;
    },
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  };
}

/** The share of a process that has the whole batch. */
function all({ shape }: Tensor): Share {
  return shareOf(at(shape, 0), 1, 0);
}

/** A tensor of a batch's data. */
function tensorIn(data: Named<Tensor>, name: string): Tensor {
  const value = data[name];
  if (value instanceof Tensor) return value;
  throw new LocalgradError(`a batch's data has no tensor ${name}; pass on what Feed.supply gives`);
}

/** The key of the permutation of an epoch; epochs count from 0. */
export function permutationKey(seed: Key, epoch: number): Key {
  return foldIn(foldIn(seed, 1), epoch);
}

/** The key that augments the images of a step; steps count from 0. */
export function augmentationKey(seed: Key, step: number): Key {
  return foldIn(foldIn(seed, 2), step);
}
