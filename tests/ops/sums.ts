/**
 * Long sums of numbers of similar size, which may all round the same way: the error must not grow with the length.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { Opened } from "../../src/backends/backend.ts";
import { grad } from "../../src/autograd/grad.ts";
import { batchNorm } from "../../src/nn/batch_norm.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { type Shape, sizeOf } from "../../src/trace/dtype.ts";
import {
  avgPool,
  conv2d,
  full,
  iota,
  maxPool,
  resizeBilinear,
  scatterAdd,
} from "../../src/trace/functions.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { skips } from "../gate.ts";

/**
 * A sum over an array of `shape` with elements from `least` to `least + 1`, or all equal; the computation, and its
 * first expected results.
 */
interface Sum {
  readonly shape: Shape;
  readonly least: number;
  readonly f: (x: Tensor) => Tensor;
  readonly want: (x: Float32Array) => number;
  /** The largest relative error; by default a few units in the last place. */
  readonly most?: number;
  /** The same for equal numbers, which all round the same way. */
  readonly mostAlike?: number;
}

const total = (x: Float32Array | Float64Array, step = 1): number => {
  let sum = 0;
  for (let i = 0; i < x.length; i += step) sum += x[i];
  return sum;
};

const ROWS = 100_000;

/** Sums that every backend computes itself. */
const own: Readonly<Record<string, Sum>> = {
  "the mean of 10⁷ numbers": {
    shape: [1e7],
    least: 1e4,
    f: (x) => x.mean(),
    want: (x) => total(x) / 1e7,
  },
  "sums of columns": {
    shape: [2 ** 18, 8],
    least: 1e4,
    f: (x) => x.sum(0),
    want: (x) => total(x, 8),
  },
  "sums of rows": {
    shape: [16, 2 ** 16],
    least: 1e4,
    f: (x) => x.sum(1),
    want: (x) => total(x.subarray(0, 2 ** 16)),
  },
  "the running variance of batch norm": {
    shape: [32, 32, 32, 8],
    least: 100,
    most: 2e-6, // the difference of two sums, after subtracting one pixel from all
    f(x) {
      const params = { weight: full([8], 1), bias: full([8], 0) };
      const state = { running_mean: full([8], 0), running_var: full([8], 0) };
      return batchNorm({ channels: 8, momentum: 1 }).apply(params, state, x, "train")
        .state["running_var"] as Tensor;
    },
    want(x) {
      const count = x.length / 8;
      const mean = total(x, 8) / count;
      return total(Float64Array.from(x, (x) => (x - mean) ** 2), 8) / (count - 1);
    },
  },
  "the gradient of a bias": {
    shape: [ROWS, 4],
    least: 1,
    f: (x) => grad((bias: Tensor) => x.add(bias).mul(x).sum())(full([4], 0)),
    want: (x) => total(x, 4),
  },
  "scatterAdd to one row": {
    shape: [ROWS, 1],
    least: 1,
    f: (x) => scatterAdd(x, x.reshape(ROWS).mul(0).cast("i32"), 1),
    want: (x) => total(x),
  },
  "scatterAdd to one of many rows": {
    shape: [ROWS, 1],
    least: 1,
    f: (x) => scatterAdd(x, x.reshape(ROWS).mul(0).cast("i32"), 2000),
    want: (x) => total(x),
  },
  "the mean of a long window": {
    shape: [1, 1, ROWS, 1],
    least: 1,
    f: (x) => avgPool(x, { window: [1, ROWS] }),
    want: (x) => total(x) / ROWS,
  },
  "the mean of a large window": {
    shape: [1, 64, 64, 4],
    least: 1e4,
    f: (x) => avgPool(x, { window: 64 }),
    want: (x) => total(x, 4) / 64 ** 2,
  },
  "the mean of a wide window": {
    shape: [1, 1, 16_000, 1],
    least: 1,
    f: (x) => avgPool(x, { window: [1, 16_000] }),
    want: (x) => total(x) / 16_000,
  },
  "the gradient of the means of many windows": {
    shape: [1, 32, 32, 4],
    least: 1,
    f: (x) => middle(x, grad((image: Tensor) => avgPool(image, { window: 32, strides: 1 }).mul(x).sum())),
    want: (x) => total(x, 4) / 32 ** 2,
  },
  "the gradient of the maxima of many windows": {
    shape: [1, 20, 20, 4],
    least: 1,
    mostAlike: 2e-6, // fewer windows than this
    f: (x) => middle(x, grad((image: Tensor) => maxPool(image, { window: 20, strides: 1 }).mul(x).sum())),
    want: (x) => total(x, 4),
  },
  "the gradient of a resize from one pixel": {
    shape: [1, 200, 200, 4],
    least: 1,
    f: (x) => grad((image: Tensor) => resizeBilinear(image, 200).mul(x).sum())(full([1, 1, 1, 4], 1)),
    want: (x) => total(x, 4),
  },
  "the gradient of a resize from one row": {
    shape: [1, 3, 30_000, 1],
    least: 1,
    f: (x) => grad((image: Tensor) => resizeBilinear(image, [3, 30_000]).mul(x).sum())(full([1, 3, 1, 1], 1)),
    want: (x) => total(x.subarray(0, 30_000)),
  },
};

/**
 * The result of `gradient` at the middle pixel of an image, which is the maximum of all the windows of the size of `x`
 * that contain it.
 */
function middle(x: Tensor, gradient: (image: Tensor) => Tensor): Tensor {
  const [, size, , channels] = x.shape, at = size - 1, shape = [1, 2 * size - 1, 2 * size - 1, channels];
  const peak = iota(shape, 1).eq(at).and(iota(shape, 2).eq(at)).cast("f32");
  return gradient(peak).slice([0, at, at, 0], [1, size, size, channels]);
}

/** Products, which CUDA's libraries sum. */
const products: Readonly<Record<string, Sum>> = {
  "a product of 2¹⁸ terms": {
    shape: [1, 2 ** 18],
    least: 1,
    f: (x) => x.matmul(x, { transposeB: true }),
    want: (x) => total(Float64Array.from(x, (x) => x * x)),
  },
  "a product of 8,192 terms in many blocks": {
    shape: [256, 8192],
    least: 1,
    f: (x) => x.matmul(x, { transposeB: true }),
    want: (x) => total(Float64Array.from(x.subarray(0, 8192), (x) => x * x)),
  },
  "a convolution over many channels": {
    shape: [1, 3, 3, 4099],
    least: 1,
    f: (x) => conv2d(x, full([4, 3, 3, 4099], 1)),
    want: (x) => total(x),
  },
  "a convolution over many channels, by minimal filtering": {
    shape: [1, 10, 10, 2048],
    least: 1,
    f: (x) => conv2d(x, full([8, 3, 3, 2048], 1)),
    want: (x) =>
      [0, 1, 2].reduce((sum, row) => sum + total(x.subarray(row * 10 * 2048, (row * 10 + 3) * 2048)), 0),
  },
  "the gradient of a filter of 3 × 3": filterGradient([64, 32, 32, 16], 3),
  "the gradient of a filter of 3 × 3, without minimal filtering": filterGradient([64, 32, 32, 3], 3),
  "the gradient of a filter of 1 × 1": filterGradient([64, 32, 32, 3], 1),
  "the gradient of a filter over a large image": filterGradient([1, 400, 400, 1], 3),
  "the gradient of a filter along two rows": filterGradient([1, 2, 50_000, 8], 3),
  "the gradient of a filter along a row": filterGradient([1, 3, ROWS, 1], 3),
  "the gradient of a filter over many small images": filterGradient([20_000, 3, 3, 3], 3),
  "the gradient of a filter over many images, by minimal filtering": filterGradient([20_000, 4, 4, 8], 3),
};

function filterGradient(shape: Shape, taps: 1 | 3): Sum {
  const channels = shape[3], padding = (taps - 1) / 2, end = padding + 1; // the middle tap meets every pixel
  return {
    shape,
    least: 1,
    f: (x) =>
      grad((w: Tensor) => conv2d(x, w, { padding }).sum())(full([8, taps, taps, channels], 1))
        .slice([0, padding, padding, 0], [1, end, end, 1]),
    want: (x) => total(x, channels),
  };
}

/**
 * Registers a test for each sum. `byLibrary` skips the products, which the backend leaves to libraries; `mostAlike` is
 * the largest error of products of equal numbers.
 */
export async function sumSuite(
  open: () => Opened | Promise<Opened>,
  device: string,
  options: { readonly byLibrary?: boolean; readonly mostAlike?: number } = {},
): Promise<void> {
  const ignore = await skips(device, open);
  const sums = options.byLibrary === true ? own : { ...own, ...products };
  for (const [name, { shape, least, f, want, most = 5e-7, ...sum }] of Object.entries(sums)) {
    const mostAlike = sum.mostAlike ?? (name in products ? options.mostAlike : undefined) ?? 5e-6;
    Deno.test(`${device}: ${name}: the error does not grow with the length`, { ignore }, async () => {
      const opened = await open();
      if (!("backend" in opened)) throw new Error(opened.reason);
      await using device = new Device(opened.backend);
      const run = jit(f, { device });
      let state = 1;
      const numbers = Float32Array.from({ length: sizeOf(shape) }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // a cheap sequence is random enough
        return least + state / 2 ** 32;
      });
      const alike = new Float32Array(numbers.length).fill(1.1);
      for (const [data, allowed] of [[numbers, most], [alike, mostAlike]] as const) {
        using x = device.array(data, shape);
        using result = run(x);
        const [got] = await result.read();
        const expected = want(data);
        const error = got === expected ? 0 : Math.abs(got - expected) / expected;
        const what = data === alike ? " of equal numbers" : "";
        assert(error <= allowed, `got ${got}${what}, want ${expected}: off by ${error.toExponential(1)}`);
      }
    });
  }
}
