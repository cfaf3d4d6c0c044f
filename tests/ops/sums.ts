/**
 * Long sums of numbers of one size, whose roundings may all go one way: the error must not grow with the length.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { Opened } from "../../src/backends/backend.ts";
import { grad } from "../../src/autograd/grad.ts";
import { batchNorm } from "../../src/nn/batch_norm.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { type Shape, sizeOf } from "../../src/trace/dtype.ts";
import { avgPool, conv2d, full, scatterAdd } from "../../src/trace/functions.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { skips } from "../gate.ts";

/** A sum: of `shape` numbers from `least` to `least + 1`, what is computed, and what its first element must be. */
interface Sum {
  readonly shape: Shape;
  readonly least: number;
  readonly f: (x: Tensor) => Tensor;
  readonly want: (x: Float32Array) => number;
  /** The largest error, relative; by default some units in the last place, whatever is summed. */
  readonly most?: number;
}

const total = (x: Float32Array | Float64Array, step = 1): number => {
  let sum = 0;
  for (let i = 0; i < x.length; i += step) sum += x[i];
  return sum;
};

const ROWS = 100_000;

/** What every backend sums itself. */
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
    most: 2e-6, // two sums are subtracted, after any one pixel was taken away from all
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
};

/** Products, which on CUDA are sums of its libraries. */
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
  "the gradient of a filter of 3 × 3": filterGradient(16, 3),
  "the gradient of a filter of 3 × 3, not filtered minimally": filterGradient(3, 3),
  "the gradient of a filter of 1 × 1": filterGradient(3, 1),
};

function filterGradient(channels: number, taps: 1 | 3): Sum {
  const padding = (taps - 1) / 2, end = padding + 1; // the middle tap meets every pixel
  return {
    shape: [64, 32, 32, channels],
    least: 1,
    f: (x) =>
      grad((w: Tensor) => conv2d(x, w, { padding }).sum())(full([16, taps, taps, channels], 1))
        .slice([0, padding, padding, 0], [1, end, end, 1]),
    want: (x) => total(x, channels),
  };
}

/** Registers a test for each sum; `byLibrary` leaves out what the backend does not sum itself. */
export async function sumSuite(
  open: () => Opened | Promise<Opened>,
  device: string,
  options: { readonly byLibrary?: boolean } = {},
): Promise<void> {
  const ignore = await skips(device, open);
  const sums = options.byLibrary === true ? own : { ...own, ...products };
  for (const [name, { shape, least, f, want, most = 5e-7 }] of Object.entries(sums)) {
    Deno.test(`${device}: ${name}: the error does not grow with the length`, { ignore }, async () => {
      const opened = await open();
      if (!("backend" in opened)) throw new Error(opened.reason);
      await using device = new Device(opened.backend);
      let state = 1;
      const data = Float32Array.from({ length: sizeOf(shape) }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // a cheap sequence is random enough
        return least + state / 2 ** 32;
      });
      using x = device.array(data, shape);
      using result = jit(f, { device })(x);
      const [got] = await result.read();
      const expected = want(data);
      const error = Math.abs(got - expected) / expected;
      assert(error <= most, `got ${got}, want ${expected}: off by ${error.toExponential(1)}`);
    });
  }
}
