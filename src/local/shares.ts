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
