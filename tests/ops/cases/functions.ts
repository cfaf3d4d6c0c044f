/** Functions that are compositions of ops, with their gradients, in few programs. */

import { vjp } from "../../../src/autograd/grad.ts";
import { clamp, gelu, logSoftmax, logSumExp, silu, softmax } from "../../../src/trace/activations.ts";
import { type Shape, sizeOf } from "../../../src/trace/dtype.ts";
import { einsum } from "../../../src/trace/einsum.ts";
import { literal, split } from "../../../src/trace/functions.ts";
import { bernoulli, foldIn, normal } from "../../../src/trace/random.ts";
import { cumsum } from "../../../src/trace/scan.ts";
import { sort, topK } from "../../../src/trace/sorting.ts";
import { norm, std, variance } from "../../../src/trace/statistics.ts";
import { Tensor } from "../../../src/trace/tensor.ts";
import { Trace, withTrace } from "../../../src/trace/trace.ts";
import type { Case } from "../check.ts";
import type { Random } from "../random.ts";

/** Functions of f32 operands, with the shapes of these. */
const differentiable: readonly (readonly [(...x: readonly Tensor[]) => Tensor, ...Shape[]])[] = [
  [(x) => softmax(x!), [3, 7]],
  [(x) => logSoftmax(x!, 0), [3, 7]],
  [(x) => logSumExp(x!, [0, 2]), [2, 5, 3]],
  [(x) => gelu(x!), [13]],
  [(x) => gelu(x!, { approximate: "tanh" }), [13]],
  [(x) => silu(x!), [13]],
  [(x, y) => clamp(x!, { min: y!, max: 0.5 }), [3, 5], [5]],
  [(x) => variance(x!, 1, { correction: 1 }), [3, 5]],
  [(x) => std(x!, 0), [4, 3]],
  [(x) => norm(x!, 1), [3, 5]],
  [(x) => cumsum(x!), [2, 35]],
  [(x) => cumsum(x!, 0), [33, 3]],
  [(x) => sort(x!, 1).values, [2, 9, 2]],
  [(x) => sort(x!, 1, { descending: true }).values, [2, 7, 2]],
  [(x) => topK(x!, 3).values, [2, 9]],
  [(x, y) => x!.matmul(y!), [2, 1, 3, 4], [3, 4, 2]],
  [(x, y) => x!.matmul(y!, { transposeA: true, transposeB: true }), [2, 4, 3], [5, 4]],
  [(x, y) => x!.matmul(y!, { transposeB: true }), [2, 3, 4], [5, 4]],
  [(x, y) => einsum("bqhd,bkhd->bhqk", x!, y!), [1, 3, 2, 4], [1, 5, 2, 4]],
  [(x, y) => einsum("...ii,i->...", x!, y!), [2, 3, 3], [3]],
  [(x) => split(x!, [1, 4, 2])[1]!, [7, 2]],
];

/** Numbers with ties, infinities and NaN. */
const ROW = [1, NaN, 2, -Infinity, 2, 0, Infinity, -1, NaN, 1, 2];

/** Functions without a gradient. */
const others: readonly ((row: Tensor) => readonly Tensor[])[] = [
  (x) => [sort(x).indices, sort(x, 0, { descending: true }).indices, topK(x, 4).indices],
  () => [
    cumsum(literal([2 ** 31 - 1, 1, 5], [3], "i32")),
    sort(literal([7, 2 ** 32 - 1, 0], [3], "u32")).values,
  ],
  () => {
    const key = literal([3, 2 ** 32 - 5], [2], "u32");
    return [normal(key, [3, 5]), bernoulli(key, [40], 0.3).cast("f32"), foldIn(key, 7)];
  },
];

/** Every function of tensors and its gradients in one program, and its results on special numbers in another. */
export function functionCases(random: Random): Case[] {
  const trace = new Trace();
  const inputs = differentiable.map(([, ...shapes]) =>
    shapes.map((shape) => new Tensor(trace, trace.builder.input({ shape, dtype: "f32" }, "x")))
  );
  const results = withTrace(trace, () =>
    differentiable.flatMap(([f], i) => {
      const [y, pullback] = vjp(f, ...inputs[i]);
      return [y, ...pullback(y.mul(0.5).add(1).stopGradient())];
    }));
  const special = new Trace();
  const row = new Tensor(special, special.builder.input({ shape: [ROW.length], dtype: "f32" }, "x"));
  const made = withTrace(special, () => others.flatMap((f) => f(row)));
  const named = (tensors: readonly Tensor[]) => tensors.map(({ id }, i) => ({ value: id, name: `y${i}` }));
  return [
    {
      label: "functions and their gradients",
      program: trace.builder.finish("functions", named(results)),
      inputs: inputs.flat().map(({ shape }) => Float32Array.from(random.floats(sizeOf(shape), -2, 2))),
    },
    {
      label: "functions of special numbers",
      program: special.builder.finish("special", named(made)),
      inputs: [Float32Array.from(ROW)],
    },
  ];
}
