import type { Shape } from "../../trace/dtype.ts";
import { extentsOf } from "../extents.ts";
import { element } from "./elements.ts";
import type { ConvAttrs, OpAttrs, PoolAttrs } from "../../trace/ops.ts";
import { windowCount } from "../../trace/shapes/images.ts";
import { isGreater } from "./reduction.ts";

// The geometry of the image ops: each function visits the elements that meet; the ops define what happens there.

/**
 * Visits every pair of an image pixel and a filter tap that meet: `image` and `filter` are the first of `channels`
 * contiguous elements that are multiplied pairwise, `result` is the output element that sums their products.
 */
export function eachConvTap(
  imageShape: Shape,
  filterShape: Shape,
  { strides, padding, dilation, groups }: ConvAttrs,
  visit: (image: number, filter: number, result: number, channels: number) => void,
): void {
  const [batch, height, width, depth] = extentsOf(imageShape);
  const [features, tapRows, tapColumns, channels] = extentsOf(filterShape);
  const rows = windowCount(height, tapRows, strides[0], padding[0], dilation[0]);
  const columns = windowCount(width, tapColumns, strides[1], padding[1], dilation[1]);
  let result = 0;
  for (let n = 0; n < batch; n++) {
    for (let p = 0; p < rows; p++) {
      for (let q = 0; q < columns; q++) {
        for (let k = 0; k < features; k++, result++) {
          const group = Math.floor(k / (features / groups));
          for (let r = 0; r < tapRows; r++) {
            const y = p * strides[0] + r * dilation[0] - padding[0][0];
            if (y < 0 || y >= height) continue;
            for (let s = 0; s < tapColumns; s++) {
              const x = q * strides[1] + s * dilation[1] - padding[1][0];
              if (x < 0 || x >= width) continue;
              const image = ((n * height + y) * width + x) * depth + group * channels;
              const filter = ((k * tapRows + r) * tapColumns + s) * channels;
              visit(image, filter, result, channels);
            }
          }
        }
      }
    }
  }
}

/** Visits every pixel of every pooling window, in row-major order within the window, without the padding. */
export function eachPoolPixel(
  imageShape: Shape,
  { window, strides, padding }: PoolAttrs,
  visit: (image: number, result: number) => void,
): void {
  const [batch, height, width, channels] = extentsOf(imageShape);
  const rows = windowCount(height, window[0], strides[0], padding[0]);
  const columns = windowCount(width, window[1], strides[1], padding[1]);
  let result = 0;
  for (let n = 0; n < batch; n++) {
    for (let p = 0; p < rows; p++) {
      for (let q = 0; q < columns; q++) {
        for (let c = 0; c < channels; c++, result++) {
          for (let r = 0; r < window[0]; r++) {
            const y = p * strides[0] + r - padding[0][0];
            if (y < 0 || y >= height) continue;
            for (let s = 0; s < window[1]; s++) {
              const x = q * strides[1] + s - padding[1][0];
              if (x < 0 || x >= width) continue;
              visit(((n * height + y) * width + x) * channels + c, result);
            }
          }
        }
      }
    }
  }
}

/** The pixel of the first maximum of every pooling window. */
export function firstMaxima(image: Float64Array, imageShape: Shape, attrs: PoolAttrs): number[] {
  const first: number[] = [];
  eachPoolPixel(imageShape, attrs, (pixel, result) => {
    const best = first[result];
    if (best === undefined || isGreater(element(image, pixel), element(image, best))) first[result] = pixel;
  });
  return first;
}

/** The two pixels that pixel `i` of `to` blends along an axis of `from` pixels, and the weight of the second. */
function resizeSource(i: number, from: number, to: number, alignCorners: boolean): [number, number, number] {
  const position = alignCorners
    ? (to > 1 ? i * (from - 1) / (to - 1) : 0)
    : Math.max(0, (i + 0.5) * from / to - 0.5);
  const low = Math.min(Math.floor(position), from - 1);
  return [low, Math.min(low + 1, from - 1), position - low];
}

/** Visits every pair of an image pixel and a pixel of its bilinear resize, with the weight between them. */
export function eachResizePixel(
  imageShape: Shape,
  { height, width, alignCorners }: OpAttrs["resize"],
  visit: (image: number, result: number, weight: number) => void,
): void {
  const [batch, fromHeight, fromWidth, channels] = extentsOf(imageShape);
  let result = 0;
  for (let n = 0; n < batch; n++) {
    for (let p = 0; p < height; p++) {
      const [top, bottom, down] = resizeSource(p, fromHeight, height, alignCorners);
      for (let q = 0; q < width; q++) {
        const [left, right, across] = resizeSource(q, fromWidth, width, alignCorners);
        for (let c = 0; c < channels; c++, result++) {
          const at = (y: number, x: number) => ((n * fromHeight + y) * fromWidth + x) * channels + c;
          visit(at(top, left), result, (1 - down) * (1 - across));
          visit(at(top, right), result, (1 - down) * across);
          visit(at(bottom, left), result, down * (1 - across));
          visit(at(bottom, right), result, down * across);
        }
      }
    }
  }
}
