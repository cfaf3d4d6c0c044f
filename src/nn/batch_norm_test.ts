import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { host, noise, run, runRounded, type Values } from "../../tests/run.ts";
import { grad } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import { formatAval } from "../trace/dtype.ts";
import type { Tensor } from "../trace/tensor.ts";
import { batchNorm } from "./batch_norm.ts";

interface Variables {
  weight: Tensor;
  bias: Tensor;
}

const channels = 3;
const norm = batchNorm({ channels });

function given(shape: readonly number[]) {
  return {
    x: noise("x", shape),
    params: { weight: noise("weight", [channels]), bias: noise("bias", [channels]) },
    state: { running_mean: noise("mean", [channels]), running_var: host([0.5, 1, 2]) },
  };
}

/** The definition, differentiated op by op. */
function plain(x: Tensor, { weight, bias }: Variables): Tensor {
  const axes = x.shape.slice(0, -1).map((_, axis) => axis);
  const centred = x.sub(x.mean(axes, { keepDims: true }));
  const variance = centred.square().mean(axes, { keepDims: true });
  return centred.div(variance.add(1e-5).sqrt()).mul(weight).add(bias);
}

function assertClose(actual: Values, expected: Values, tolerance = 1e-10): void {
  assertEquals(actual.shape, expected.shape);
  actual.data.forEach((value, i) => assertAlmostEquals(value, expected.data[i], tolerance));
}

for (const shape of [[2, 3, 5, channels], [7, channels], [1, 1, 2, channels]]) {
  const name = formatAval({ shape, dtype: "f32" });

  Deno.test(`batchNorm() normalises ${name} by its statistics and moves the running ones`, () => {
    const { x, params, state } = given(shape);
    const got = run(
      (p: Variables, s: Variables & never, x: Tensor) => norm.apply(p as never, s, x, "train"),
      params,
      state,
      x,
    );
    const count = x.data.length / channels;
    for (let c = 0; c < channels; c++) {
      const column = Array.from({ length: count }, (_, i) => x.data[i * channels + c]);
      const mean = column.reduce((a, b) => a + b, 0) / count;
      const squares = column.reduce((a, b) => a + (b - mean) ** 2, 0);
      column.forEach((value, i) =>
        assertAlmostEquals(
          got["y"].data[i * channels + c],
          (value - mean) / Math.sqrt(squares / count + 1e-5) * params.weight.data[c] + params.bias.data[c],
          1e-9,
        )
      );
      const moved = 0.9 * state.running_mean.data[c] + 0.1 * mean;
      assertAlmostEquals(got["state.running_mean"].data[c], moved, 1e-9);
      const spread = 0.9 * state.running_var.data[c] + 0.1 * squares / (count - 1);
      assertAlmostEquals(got["state.running_var"].data[c], spread, 1e-9);
    }
  });

  Deno.test(`batchNorm() has the gradient of its definition on ${name}, and the gradient of that`, () => {
    const { x, params, state } = given(shape);
    const loss = (apply: (x: Tensor, p: Variables) => Tensor) => (at: { x: Tensor; p: Variables }) => {
      const y = apply(at.x, at.p);
      return y.mul(y).mul(y).add(y.sin()).sum();
    };
    const ours = (s: unknown) => loss((x, p) => norm.apply(p as never, s as never, x, "train").y);
    const first = (f: (at: never) => Tensor) => (at: never) => grad(f)(at);
    const second = (f: (at: never) => Tensor) =>
      first((at: never) => {
        const g = grad(f)(at) as { x: Tensor; p: Variables };
        return g.x.sin().sum().add(g.p.weight.square().sum()).add(g.p.bias.square().sum());
      });
    for (const order of [first, second]) {
      const actual = run((at: never, s: never) => order(ours(s))(at), { x, p: params }, state);
      const expected = run(order(loss(plain)), { x, p: params });
      for (const path of Object.keys(expected)) assertClose(actual[path], expected[path], 1e-8);
    }
  });
}

Deno.test("batchNorm() in evaluation uses the running statistics and keeps them", () => {
  const { x, params, state } = given([2, 2, 2, channels]);
  const got = run((p: never, s: never, x: Tensor) => norm.apply(p, s, x, "evaluate"), params, state, x);
  x.data.forEach((value, i) => {
    const c = i % channels;
    const scale = params.weight.data[c] / Math.sqrt(state.running_var.data[c] + 1e-5);
    const expected = (value - state.running_mean.data[c]) * scale + params.bias.data[c];
    assertAlmostEquals(got["y"].data[i], expected, 1e-9);
  });
  assertEquals([...got["state.running_var"].data], [...state.running_var.data]);
});

Deno.test("batchNorm() keeps its precision where the mean is large compared with the deviation", () => {
  const count = 4000;
  const values = Array.from({ length: count }, (_, i) => 1e4 + (i % 7));
  const one = batchNorm({ channels: 1, epsilon: 0 });
  const { data } = runRounded(
    (p: never, s: never, x: Tensor) => one.apply(p, s, x, "train").y,
    { weight: host([1]), bias: host([0]) },
    { running_mean: host([0]), running_var: host([1]) },
    host(values, [count, 1]),
  )[""];
  const mean = values.reduce((a, b) => a + b) / count;
  const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / count);
  data.forEach((value, i) => assertAlmostEquals(value, (values[i] - mean) / std, 1e-3));
});

Deno.test("batchNorm() refuses to take the variance of one value", () => {
  const { params, state } = given([1, channels]);
  const apply = (mode: "train" | "evaluate") => () =>
    run(
      (p: never, s: never, x: Tensor) => norm.apply(p, s, x, mode),
      params,
      state,
      noise("x", [1, channels]),
    );
  assertThrows(apply("train"), LocalgradError, "larger batch");
  assertEquals(apply("evaluate")()["y"].shape, [1, channels]);
});
