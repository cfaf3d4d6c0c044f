import { at } from "../base/at.ts";
import { expectWhole } from "../base/expect.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { Batch } from "./method.ts";

/** Batch norm needs two images. */
const FEWEST = 2;

/** Refuses more micro-batches than a full batch can be divided into; the last batch of an epoch may have fewer. */
export function expectMicroBatches(who: string, accumulate: number | undefined, batch: number): void {
  if (accumulate === undefined || accumulate === 1) return;
  const most = Math.max(1, Math.floor(batch / FEWEST));
  expectWhole(
    `${who}: accumulate, the micro-batches of a batch of ${batch}, at least ${FEWEST} images each,`,
    accumulate,
    1,
    most,
  );
}

/** Divides a batch into at most `count` micro-batches of at least two images, whose sizes differ by one at most. */
export function microBatches(batch: Batch, count = 1): readonly Batch[] {
  const labels = parts(batch.labels, count);
  if (labels.length === 1) return [batch];
  const { mixed } = batch;
  const others = mixed && parts(mixed.labels, count);
  return labels.map((labels, i) => ({
    labels,
    ...(mixed === undefined || others === undefined
      ? {}
      : { mixed: { labels: at(others, i), share: mixed.share } }),
    get x(): Tensor { // not read by the later processes of a pipeline, which may have none
      return at(parts(batch.x, count), i);
    },
    get images(): Tensor { // read only by methods that reconstruct images; others may have none
      return at(parts(batch.images, count), i);
    },
  }));
}

/** The number of micro-batches of a batch, if `count` are wanted. */
export function microBatchCount(images: number, count = 1): number {
  return Math.max(1, Math.min(count, Math.floor(images / FEWEST)));
}

/** The number of images of micro-batch `index` of `number`. */
export function microBatchImages(images: number, number: number, index: number): number {
  const start = (i: number) => Math.floor(i * images / number);
  return start(index + 1) - start(index);
}

/** Divides a tensor along its first axis as {@link microBatches} divides a batch. */
export function parts(x: Tensor, count = 1): readonly Tensor[] {
  const [images = 0, ...rest] = x.shape;
  const number = microBatchCount(images, count);
  if (number === 1) return [x];
  const start = (i: number) => Math.floor(i * images / number);
  return Array.from(
    { length: number },
    (_, i) => x.slice([start(i), ...rest.map(() => 0)], [start(i + 1), ...rest]),
  );
}
