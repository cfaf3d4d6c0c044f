import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import type { WholePicture } from "../data/decoder.ts";
import type { Shape } from "../trace/dtype.ts";

/** The class of each pixel of an image. */
export interface LabelMap {
  /** Rows. */
  readonly height: number;
  /** Columns. */
  readonly width: number;
  /** The most probable class of each pixel, row by row; of equal ones the first. */
  readonly labels: Uint8Array;
}

/**
 * The label map of an image.
 *
 * @param logits f32 `[height, width, classes]`.
 * @throws {LocalgradError} if a logit is NaN.
 */
export function labelMap(logits: Float32Array, [height = 0, width = 0, classes = 0]: Shape): LabelMap {
  if (logits.some(Number.isNaN)) {
    throw new LocalgradError(
      "segment: the network's output is NaN: its weights have diverged, or the image has a NaN",
    );
  }
  const labels = Uint8Array.from({ length: height * width }, (_, pixel) => {
    const own = logits.subarray(pixel * classes, (pixel + 1) * classes);
    return own.indexOf(own.reduce((a, b) => Math.max(a, b), -Infinity));
  });
  return { height, width, labels };
}

/**
 * The label map of a picture of `of` pixels, from that of an image whose upper left `to` pixels show it: for each of its
 * pixels the nearest label.
 */
export function ofPicture(
  { width: columns, labels }: LabelMap,
  { of: [height, width], to: [toRows, toColumns] }: Pick<WholePicture, "of" | "to">,
): LabelMap {
  const nearest = (i: number, extent: number, to: number) => Math.floor((i + 0.5) * to / extent);
  const across = Uint32Array.from({ length: width }, (_, x) => nearest(x, width, toColumns));
  const own = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    const row = nearest(y, height, toRows) * columns;
    for (const [x, column] of across.entries()) own[y * width + x] = at(labels, row + column);
  }
  return { height, width, labels: own };
}
