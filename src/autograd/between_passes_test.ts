import { assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import { noise, run } from "../../tests/run.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import type { Named } from "../nn/named.ts";
import type { Tensor } from "../trace/tensor.ts";
import { changedBetweenPasses } from "./between_passes.ts";
import { grad, valueAndGrad } from "./grad.ts";

const [w, v, x] = [noise("w", [5]), noise("v", [5]), noise("x", [5])];

Deno.test("changedBetweenPasses() reads later weights in the backward pass, and values that the forward pass computed", () => {
  // y = e^w tanh(w x): dy/dx = e^w w (1 − tanh²), with v for w except in the tanh, which the forward pass computed.
  const f = (w: Tensor, x: Tensor) => w.exp().mul(w.mul(x).tanh());
  const { value, gradient, alike } = run(
    (w: Tensor, v: Tensor, x: Tensor) => {
      const [value, gradient] = valueAndGrad((x: Tensor) => changedBetweenPasses(f, w, () => v, x).y.sum())(
        x,
      );
      return {
        value,
        gradient,
        alike: grad((x: Tensor) => changedBetweenPasses(f, w, () => w, x).y.sum())(x),
      };
    },
    w,
    v,
    x,
  );
  const each = [...w.data].map((w, i) => ({ w, v: v.data[i], t: Math.tanh(w * x.data[i]) }));
  assertAlmostEquals(value.data[0], each.reduce((sum, { w, t }) => sum + Math.exp(w) * t, 0), 1e-12);
  each.forEach(({ w, v, t }, i) => {
    assertAlmostEquals(gradient.data[i], Math.exp(v) * v * (1 - t * t), 1e-12);
    assertAlmostEquals(alike.data[i], Math.exp(w) * w * (1 - t * t), 1e-12);
  });
});

Deno.test("changedBetweenPasses() changes the weights in gradient rules inside it, and in none outside", () => {
  // The gradient of batch norm is proportional to its weight, and reads no other learned value.
  const { apply } = batchNorm({ channels: 3 });
  const [weight, later, h] = [noise("weight", [3]), noise("later", [3]), noise("h", [4, 3])];
  const gradients = run(
    (weight: Tensor, later: Tensor, h: Tensor) => {
      const norm = (weights: Named<Tensor>, h: Tensor) => {
        const unread = { running_mean: weight, running_var: weight };
        return apply({ ...weights, bias: weight }, unread, h, "train").y;
      };
      const square = (y: Tensor) => y.sub(0.25).square().sum();
      const changed = (h: Tensor) => changedBetweenPasses(norm, { weight }, () => ({ weight: later }), h).y;
      return {
        old: grad((h: Tensor) => square(norm({ weight }, h)))(h),
        both: grad((h: Tensor) => square(changed(h)).add(square(norm({ weight }, h))))(h),
      };
    },
    weight,
    later,
    h,
  );
  gradients["both"].data.forEach((value, i) => {
    const ratio = later.data[i % 3] / weight.data[i % 3];
    assertAlmostEquals(value, gradients["old"].data[i] * (1 + ratio), 1e-9);
  });
});

Deno.test("changedBetweenPasses() gives the weights no gradient", () => {
  const f = (w: Tensor, x: Tensor) => w.mul(x);
  const { dw, dx } = run(
    (w: Tensor, v: Tensor, x: Tensor) => {
      const [dw, dx] = grad(([w, x]: [Tensor, Tensor]) => changedBetweenPasses(f, w, () => v, x).y.sum())([
        w,
        x,
      ]);
      return { dw, dx };
    },
    w,
    v,
    x,
  );
  assertEquals([...dw.data], [0, 0, 0, 0, 0]);
  assertEquals([...dx.data], [...v.data]);
  assertNotEquals([...dx.data], [...w.data]);
});
