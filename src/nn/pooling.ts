import { expectWhole } from "../base/expect.ts";
import { avgPool, concat, maxPool } from "../trace/functions.ts";
import { expectPoolOptions, type PoolOptions } from "../trace/pool_options.ts";
import { expectTensor, type Tensor } from "../trace/tensor.ts";
import { imageExtents } from "./image.ts";
import { type Layer, stateless } from "./layer.ts";

/** Takes the maximum of each window; see `maxPool` in the tensor functions. */
export function maxPooling(options: PoolOptions): Layer {
  expectPoolOptions("maxPooling", options);
  return stateless((x) => maxPool(x, options));
}

/** Takes the mean of each window; padding counts as zeros. */
export function averagePooling(options: PoolOptions): Layer {
  expectPoolOptions("averagePooling", options);
  return stateless((x) => avgPool(x, options));
}

/** Takes the mean over height and width: NHWC → `[batch, channels]`. */
export function globalAveragePooling(): Layer {
  return stateless((x) => x.mean([1, 2]));
}

/** Mean pooling to a given height and width, whatever the input's size; see {@link adaptiveAveragePool}. */
export function adaptiveAveragePooling(height: number, width: number): Layer {
  return stateless((x) => adaptiveAveragePool(x, height, width));
}

/**
 * Mean pooling of an NHWC image to `height` × `width`: output i averages rows ⌊i·H/height⌋ … ⌈(i+1)·H/height⌉, as
 * PyTorch's `adaptive_avg_pool2d`. Windows overlap where the sizes do not divide.
 */
export function adaptiveAveragePool(x: Tensor, height: number, width: number): Tensor {
  expectTensor("adaptiveAveragePool", x);
  for (const extent of [height, width]) expectWhole("adaptiveAveragePool: height and width", extent);
  const [rows, columns] = imageExtents("adaptiveAveragePool", x.shape.slice(1));
  if (rows === height && columns === width) return x;
  if (rows % height === 0 && columns % width === 0) {
    return avgPool(x, { window: [rows / height, columns / width] });
  }
  return averageAlong(averageAlong(x, 1, rows, height), 2, columns, width);
}

/** Averages an axis of `extent` elements to `count` windows. */
function averageAlong(x: Tensor, axis: number, extent: number, count: number): Tensor {
  const pieces = Array.from({ length: count }, (_, i) => {
    const from = Math.floor(i * extent / count);
    const to = Math.ceil((i + 1) * extent / count);
    const starts = x.shape.map((_, a) => a === axis ? from : 0);
    return x.slice(starts, x.shape.map((full, a) => a === axis ? to : full)).mean(axis, { keepDims: true });
  });
  return concat(pieces, axis);
}
