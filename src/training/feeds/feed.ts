import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { foldIn, type Key } from "../../base/random.ts";
import type { ImageReader } from "../../data/images.ts";
import type { Batch } from "../../local/method.ts";
import { type Share, shareOf } from "../../local/processes/shares.ts";
import type { Named } from "../../nn/named.ts";
import type { DeviceArray } from "../../runtime/arrays.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { HostArray } from "../../trace/host_array.ts";
import { Tensor } from "../../trace/tensor.ts";
import { treeLeaves } from "../../trace/tree.ts";

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

/** The traced function that makes batches of supplied data. */
export interface BatchMaker {
  /** Arrays that stay on the device; none if images are streamed. */
  readonly arrays: Named<DeviceArray>;
  /**
   * Within a traced function: the images at `indices` (u32 `[batch]`), normalised, with their labels; augmented by `key`
   * (u32[2]) if one is given. `data` is the {@link SuppliedBatch.data} of the batch. Of a batch that processes share, only
   * the images of `share`, each augmented as in the whole batch.
   */
  batch(data: Named<Tensor>, indices: Tensor, key?: Tensor, share?: Share): Batch;
}

/** Labelled images or vectors for a device, in any order, and the traced function that makes batches of them. */
export interface Feed extends BatchMaker, AsyncDisposable {
  /** Number of images. */
  readonly count: number;
  /** Supplies these batches in order; streamed images are prepared ahead. */
  supply(requests: Iterable<BatchRequest>): AsyncGenerator<SuppliedBatch, undefined, void>;
  /** Streamed images made so far, see {@link ImageReader.done}. */
  readonly made?: ImageReader["done"] | undefined;
}

/** The share of a process that has the whole batch. */
export function all({ shape }: Tensor): Share {
  return shareOf(at(shape, 0), 1, 0);
}

/** A tensor of a batch's data. */
export function tensorIn(data: Named<Tensor>, name: string): Tensor {
  const value = data[name];
  if (value instanceof Tensor) return value;
  throw new LocalgradError(`a batch's data has no tensor ${name}; pass on what Feed.supply gives`);
}

/** The images of a batch that has none in [0, 1]; `what` are they. Only methods that reconstruct them read them. */
export function withoutImages(batch: Pick<Batch, "x" | "labels" | "mixed">, what: string): Batch {
  return {
    ...batch,
    get images(): never {
      throw new LocalgradError(`this method reconstructs images in [0, 1]; ${what}`);
    },
  };
}

/** The key of the permutation of an epoch; epochs count from 0. */
export function permutationKey(seed: Key, epoch: number): Key {
  return foldIn(foldIn(seed, 1), epoch);
}

/** The key of a step's random layers, such as dropout; steps count from 0. */
export function layerKey(seed: Key, step: number): Key {
  return foldIn(foldIn(seed, 4), step); // 3 divides data sets
}

/** The key that augments the images of a step; steps count from 0. */
export function augmentationKey(seed: Key, step: number): Key {
  return foldIn(foldIn(seed, 2), step);
}

/** The bytes of the arrays that stay on the device. */
export function bytesIn({ arrays }: BatchMaker): number {
  return treeLeaves<DeviceArray>(arrays).reduce((sum, array) => sum + bytesOf(array), 0);
}
