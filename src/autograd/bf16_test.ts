import { assert, assertEquals } from "@std/assert";
import { Random } from "../../tests/ops/random.ts";
import { multiHeadAttention } from "../nn/attention.ts";
import { layerNorm } from "../nn/layer_norm.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import { gelu, silu, softmax } from "../trace/activations.ts";
import { fromBf16, toBf16 } from "../trace/bf16.ts";
import { avgPool, concat, conv2d, maxPool, resizeBilinear, scatterAdd, where } from "../trace/functions.ts";
import { iota } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { checkpoint, grad } from "./grad.ts";

/** Layer norm of rows by a weight and a bias `[2, 4]`. */
function normalised(x: Tensor, parameters: Tensor): Tensor {
  const [weight, bias] = [0, 1].map((i) => parameters.slice([i, 0], [i + 1, 4]).reshape(4).cast("f32"));
  return layerNorm({ features: 4 }).apply({ weight, bias }, {}, x, "train").y;
}

/** Causal attention with two heads, whose queries are computed 16 at a time, by parameters among 80 values. */
function attended(x: Tensor, values: Tensor): Tensor {
  const of = (first: number, ...shape: number[]) =>
    values.slice([first], [first + shape.reduce((a, b) => a * b)]).reshape(...shape);
  const params = {
    in_proj_weight: of(0, 12, 4),
    in_proj_bias: of(48, 12),
    out_proj: { weight: of(60, 4, 4), bias: of(76, 4) },
  };
  return multiHeadAttention({ width: 4, heads: 2, causal: true, chunk: 16 }).apply(params, {}, x, "train").y;
}

/** Functions of two images `[2, 6, 6, 4]`, to differentiate in bf16. */
const functions: { readonly [name: string]: (x: Tensor, y: Tensor) => Tensor } = {
  "arithmetic": (x, y) => x.mul(y).add(x.div(y.square().add(1))).sub(y.neg()),
  "functions": (x, y) => x.tanh().add(y.exp()).add(x.square().add(0.5).rsqrt()).mul(y.sigmoid()),
  "relu and select": (x, y) => where(x.gt(y), x, y.mul(2)).relu().maximum(x),
  "convolution": (x, y) => conv2d(x, y.reshape(8, 3, 3, 4), { strides: 2, padding: 1, dilation: 1 }),
  "grouped convolution": (x, y) => conv2d(x, y.reshape(16, 3, 3, 2), { padding: 1, groups: 2 }),
  "matmul": (x, y) => x.reshape(2, 36, 4).matmul(y.reshape(2, 36, 4), { transposeB: true }),
  "pooling": (x, y) => maxPool(x, { window: 2 }).mul(avgPool(y, { window: 3, strides: 2, padding: 1 })),
  "resize": (x, y) => resizeBilinear(x, [9, 4]).add(resizeBilinear(y, [9, 4], { alignCorners: true })),
  "movement": (x, y) =>
    concat([x.transpose(0, 2, 1, 3), y.pad([0, 1, 0, 0], [0, 0, 1, 0]).slice([0, 0, 1, 0], [2, 6, 7, 4])], 3),
  "broadcasting": (x, y) => x.mul(y.slice([0, 0, 0, 0], [1, 1, 1, 4])).add(y.reshape(288).slice([3], [4])),
  "reductions": (x, y) => x.mean([1, 2], { keepDims: true }).mul(y).add(x.max(3, { keepDims: true })),
  "rows": (x, y) =>
    scatterAdd(x.reshape(72, 4).gather(iota([9])), iota([9]).rem(4), 5).mul(
      y.reshape(72, 4).gather(iota([5])),
    ),
  "gelu, silu and softmax": (x, y) =>
    gelu(x).add(gelu(y, { approximate: "tanh" })).mul(silu(y)).add(softmax(x.mul(y))),
  "layer norm": (x, y) => normalised(x.mul(y), y.slice([0, 0, 0, 0], [1, 1, 2, 4]).reshape(2, 4)),
  "attention": (x, y) => attended(x.reshape(2, 36, 4), y.reshape(288).mul(0.5)),
  "checkpointed": (x, y) => checkpoint((x: Tensor) => x.mul(y).tanh())(x).mul(x),
};

for (const [name, f] of Object.entries(functions)) {
  Deno.test(`gradients through ${name} in bf16 are in bf16, and near those in f32`, async () => {
    await using device = await open("reference");
    const random = new Random(11);
    const inputs = [0, 1].map(() => new HostArray(toBf16(random.floats(288)), [2, 6, 6, 4]));
    // The gradient, and the gradient of the sum of its squares.
    const both = (x: Tensor, y: Tensor): Tensor[] => {
      const first = grad((p: { x: Tensor; y: Tensor }) => f(p.x, p.y).cast("f32").mul(0.25).sum());
      const second = grad((p: { x: Tensor; y: Tensor }) => {
        const { x, y } = first(p);
        return x.cast("f32").square().sum().add(y.cast("f32").square().sum());
      });
      return [first({ x, y }), second({ x, y })].flatMap(({ x, y }) => [x, y]);
    };
    const results: number[][][] = [];
    for (const dtype of ["bf16", "f32"] as const) {
      const run = jit((x: Tensor, y: Tensor) => both(x.cast(dtype), y.cast(dtype)), { device });
      const arrays = run(inputs[0], inputs[1]);
      assertEquals(arrays.map((array) => array.dtype), [dtype, dtype, dtype, dtype]);
      results.push(
        await Promise.all(arrays.map(async (array) => {
          const data = await array.read();
          array.dispose();
          return [...data instanceof Uint16Array ? fromBf16(data) : data];
        })),
      );
    }
    const [narrow, wide] = results;
    wide.forEach((exact, i) => {
      const off = Math.hypot(...exact.map((value, k) => narrow[i][k] - value));
      assert(
        off <= 0.02 * Math.hypot(...exact) + 1e-6,
        `result ${i} is off by ${off} of ${Math.hypot(...exact)}`,
      );
    });
  });
}
