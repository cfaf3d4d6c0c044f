import { at } from "../../base/at.ts";
import type { SharedBatch } from "../../nn/shared_batch.ts";
import { DATA } from "./exchange.ts";
import { microBatchCount, microBatchImages } from "../micro_batches.ts";

/** A process's share of a batch. */
export interface Share {
  /** Its first image. */
  readonly from: number;
  /** The image after its last. */
  readonly to: number;
  /** The images of the whole batch. */
  readonly images: number;
  /** The number of processes that have the same images: more than 1 where a batch is too small to be divided. */
  readonly copies: number;
}

/** Batch norm needs two images. */
const FEWEST = 2;

/**
 * Divides a batch among processes, in shares whose sizes differ by one at most. A batch with fewer than two images for
 * each process is not divided: every process then trains on all of it.
 */
export function shareOf(images: number, processes: number, index: number): Share {
  if (processes === 1 || Math.floor(images / FEWEST) < processes) {
    return { from: 0, to: images, images, copies: processes };
  }
  const start = (i: number) => Math.floor(i * images / processes);
  return { from: start(index), to: start(index + 1), images, copies: 1 };
}

/** The weight of a share's mean in the mean over the batch. All weights add up to 1. */
export function weightOf({ from, to, images, copies }: Share): number {
  return copies > 1 ? 1 / copies : (to - from) / images;
}

/**
 * The micro-batches of a batch whose statistics processes share, this being number `index` of them: every process has as
 * many, so that all make the same exchanges. Undefined where each process has the whole batch, and its statistics.
 */
export function sharedBatches(
  share: Share,
  processes: number,
  index: number,
  accumulate: number | undefined,
): readonly SharedBatch[] | undefined {
  if (share.copies > 1 || processes === 1) return undefined;
  const sizes = Array.from({ length: processes }, (_, i) => {
    const { from, to } = shareOf(share.images, processes, i);
    return to - from;
  });
  const count = microBatchCount(Math.min(...sizes), accumulate);
  return Array.from({ length: count }, (_, part) => {
    const parts = sizes.map((size) => microBatchImages(size, count, part));
    const images = parts.reduce((a, b) => a + b, 0);
    return { group: DATA, index, processes, own: at(parts, index), images };
  });
}
