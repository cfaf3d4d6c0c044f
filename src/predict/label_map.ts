import { LocalgradError } from "../base/errors.ts";
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
