import { type Key, permutation } from "../../base/random.ts";
import type { ImageReader } from "../../data/images.ts";
import {
  augmentationKey,
  type BatchMaker,
  type BatchRequest,
  type Feed,
  permutationKey,
  type SuppliedBatch,
} from "./feed.ts";

/** The training batches of a run, by step. */
export interface TrainingFeed extends BatchMaker {
  /** Steps per epoch. */
  readonly stepsPerEpoch: number;
  /** Images per epoch, at most. */
  readonly imagesPerEpoch: number;
  /** Images made so far, see {@link ImageReader.done}; undefined if they are resident. */
  readonly made?: ImageReader["done"] | undefined;
  /** The batches of the steps `first` to `end - 1` of the run, counted from 0; the next ones are prepared ahead. */
  batches(first: number, end: number): AsyncGenerator<SuppliedBatch, undefined, void>;
}

/** The images of a feed in a fresh order in each epoch, drawn from the seed. */
export function shuffled(feed: Feed, seed: Key, batch: number): TrainingFeed {
  const starts = batchStarts(feed.count, batch);
  return {
    arrays: feed.arrays,
    batch: feed.batch,
    stepsPerEpoch: starts.length,
    imagesPerEpoch: feed.count,
    get made() {
      return feed.made;
    },
    batches: (first, end) => feed.supply(requests(first, end)),
  };

  function* requests(first: number, end: number): Generator<BatchRequest> {
    for (let step = first; step < end;) {
      const order = permutation(permutationKey(seed, Math.floor(step / starts.length)), feed.count);
      for (const from of starts.slice(step % starts.length)) {
        yield { indices: order.slice(from, from + batch), key: augmentationKey(seed, step++) };
      }
    }
  }
}

/** The first image of each batch of an epoch, without a last batch of one image: batch norm needs at least two. */
export function batchStarts(count: number, batch: number): number[] {
  const starts: number[] = [];
  for (let from = 0; from < count; from += batch) {
    if (count - from > 1 || batch === 1) starts.push(from);
  }
  return starts;
}
