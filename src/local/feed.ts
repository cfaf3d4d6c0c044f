import { readImages } from "../data/augment.ts";
import type { ImageDataset, LabelledImages } from "../data/images.ts";
import type { Named } from "../nn/named.ts";
import { type Device, type DeviceArray, disposeTree } from "../trace/arrays.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { Batch } from "./method.ts";

/** Labelled images on a device, and how a batch is made of them within a traced step. */
export interface Feed extends Disposable {
  /** How many images there are. */
  readonly count: number;
  /** What lies on the device. */
  readonly arrays: Named<DeviceArray>;
  /**
   * The images at `indices` (u32 `[batch]`), normalised, with their labels; augmented by `key` (u32[2]) where one is
   * given.
   */
  batch(arrays: Named<Tensor>, indices: Tensor, key?: Tensor): Batch;
}

/**
 * Puts labelled images on a device: bytes, in shards no larger than one value may be there. Batches are cropped and
 * mirrored at random where a key is given, see `readImages`.
 */
export function openFeed(device: Device, dataset: ImageDataset, part: LabelledImages): Feed {
  const { height, width, channels } = dataset;
  const size = height * width * channels;
  const rows = Math.max(1, Math.min(part.count, Math.floor(device.backend.target.maxValueBytes / size)));
  const shards: { [first: string]: DeviceArray } = {};
  for (let first = 0; first < part.count; first += rows) {
    const end = Math.min(part.count, first + rows);
    const bytes = part.images.subarray(first * size, end * size);
    shards[first] = device.array(bytes, [end - first, height, width, channels]);
  }
  const arrays = { shards, labels: device.array(part.labels) };
  return {
    count: part.count,
    arrays,
    batch({ shards, labels }, indices, key) {
      const parts = Object.entries(shards).map(([first, bytes]) => ({ first: Number(first), bytes }));
      return { ...readImages(parts, indices, dataset, key), labels: (labels as Tensor).gather(indices) };
    },
    [Symbol.dispose]: () => disposeTree(arrays),
  };
}
