import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { host, noise, run, type Values } from "../../tests/run.ts";
import { type Process, runTogether } from "../../tests/run_together.ts";
import { grad } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import type { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { batchNorm } from "./batch_norm.ts";
import { withSharedBatch } from "./shared_batch.ts";

const channels = 3;
const norm = batchNorm({ channels });
const params = { weight: noise("weight", [channels]), bias: noise("bias", [channels]) };
const state = { running_mean: noise("mean", [channels]), running_var: host([0.5, 1, 2]) };

type Variables = { weight: Tensor; bias: Tensor };

/** What to compute with batch norm `apply`: the result, the state after it, and gradients of a loss, to a second order. */
const computed = (apply: (x: Tensor, p: Variables, s: never) => ReturnType<typeof norm.apply>) =>
(
  at: { x: Tensor; p: Variables },
  s: never,
) => {
  const loss = ({ x, p }: { x: Tensor; p: Variables }) => {
    const { y } = apply(x, p, s);
    return y.mul(y).mul(y).add(y.sin()).sum();
  };
  const first = grad(loss)(at);
  const second = grad((at: { x: Tensor; p: Variables }) => {
    const g = grad(loss)(at);
    return g.x.sin().sum();
  })(at);
  return { ...apply(at.x, at.p, s), first, second };
};

/** The same on shares of `sizes` images. */
function together(x: HostArray, sizes: readonly number[], rounded = false): Record<string, Values>[] {
  const images = sizes.reduce((a, b) => a + b);
  const each = x.data.length / images;
  const group = { members: sizes.map((_, i) => i) };
  let from = 0;
  const processes = sizes.map((own, index): Process => {
    const data = x.data.slice(from * each, (from += own) * each);
    const shared = { group: "data", index, processes: sizes.length, own, images };
    const apply = (x: Tensor, p: Variables, s: never) =>
      withSharedBatch(shared, () => norm.apply(p as never, s, x, "train"));
    const at = { x: host([...data], [own, ...x.shape.slice(1)]), p: params };
    return { f: computed(apply), args: [at, state], groups: { data: group } };
  });
  return runTogether(processes, undefined, rounded);
}

const shapes = [[5, 2, 3, channels], [9, channels]];
for (const sizes of [[3, 2], [1, 4], [2, 1, 2], [5], [4, 5]]) {
  const images = sizes.reduce((a, b) => a + b);
  for (const shape of shapes.filter(([first]) => first === images)) {
    Deno.test(`shares of ${sizes} images: batch norm of [${shape}], its state and gradients, as in one batch`, () => {
      const x = noise("x", shape);
      const apply = (x: Tensor, p: Variables, s: never) => norm.apply(p as never, s, x, "train");
      const whole = run(computed(apply), { x, p: params }, state);
      const parts = together(x, sizes);
      for (const path of ["y", "first.x", "second.x"]) {
        assertClose(parts.flatMap((part) => [...part[path].data]), whole[path], path);
      }
      for (const part of parts) {
        for (const path of ["state.running_mean", "state.running_var"]) {
          assertClose([...part[path].data], whole[path], path);
          assertEquals(part[path].data, parts[0][path].data, "the same bits on all");
        }
      }
      for (const path of ["first.p.weight", "first.p.bias", "second.p.weight", "second.p.bias"]) {
        const sums = [...whole[path].data].map((_, c) => parts.reduce((sum, p) => sum + p[path].data[c], 0));
        assertClose(sums, whole[path], path);
      }
    });
  }
}

function assertClose(actual: readonly number[], { data }: Values, what: string): void {
  assertEquals(actual.length, data.length);
  actual.forEach((value, i) =>
    assertAlmostEquals(value, data[i], 1e-9 * Math.max(1, Math.abs(data[i])), what)
  );
}

Deno.test("shares: the gradient is that of finite differences of all processes' losses", () => {
  const x = noise("x", [5, 2, 1, channels]);
  const loss = (x: HostArray) =>
    together(x, [3, 2]).reduce((sum, { y }) => sum + y.data.reduce((a, v) => a + v ** 3 + Math.sin(v), 0), 0);
  const gradient = together(x, [3, 2]).flatMap((part) => [...part["first.x"].data]);
  const step = 2 ** -8;
  for (const i of [0, 7, 17, 22, 29]) {
    const moved = (by: number) => host([...x.data].map((v, k) => k === i ? v + by : v), x.shape);
    const around = [2, 1, -1, -2].map((by) => loss(moved(by * step)));
    const slope = (8 * (around[1] - around[2]) - (around[0] - around[3])) / (12 * step);
    assertAlmostEquals(gradient[i], slope, 1e-5 * Math.max(1, Math.abs(slope)));
  }
});

Deno.test("shares: the statistics stay exact where the mean is large, and the means of shares differ", () => {
  const sizes = [300, 400, 300];
  const values = Array.from({ length: 1000 }, (_, i) => 2 ** 14 + (i % 7) + (i < 300 ? 3 : 0));
  const x = host(values.flatMap((v) => [v, -v, 1]), [1000, channels]);
  const parts = together(x, sizes, true);
  const mean = values.reduce((a, b) => a + b) / 1000;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / 1000;
  const [weight, , other] = params.weight.data, [bias, , shift] = params.bias.data;
  const y = parts.flatMap(({ y }) => [...y.data]);
  values.forEach((v, i) =>
    assertAlmostEquals(y[3 * i], (v - mean) / Math.sqrt(variance + 1e-5) * weight + bias, 2e-3)
  );
  assert(Number.isFinite(other));
  assertAlmostEquals(y[2], shift, 1e-6); // no variance
  const running = parts[0]["state.running_var"].data[0];
  assertAlmostEquals(running, 0.9 * 0.5 + 0.1 * variance * 1000 / 999, 1e-3);
});

Deno.test("shares: one image each is enough, and a batch of another size than the share is refused", () => {
  assertEquals(together(noise("x", [2, channels]), [1, 1])[0]["y"].shape, [1, channels]);
  const shared = { group: "data", index: 0, processes: 2, own: 2, images: 4 };
  assertThrows(
    () =>
      run(
        (x: Tensor, s: never) =>
          withSharedBatch(shared, () => norm.apply(params as never, s, x, "train").y.sum()),
        noise("x", [3, channels]),
        state,
      ),
    LocalgradError,
    "has 3 images, but this process's share of the batch 2",
  );
});
