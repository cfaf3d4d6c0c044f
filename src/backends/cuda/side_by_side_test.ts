import { assertEquals } from "@std/assert";
import { jit } from "../../runtime/jit.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { lowerPlan } from "./lower.ts";
import { cudaTarget } from "./target.ts";

/** The kernels of each launch of a function of tensors, given their shapes. */
function launches(f: (...xs: Tensor[]) => readonly Tensor[], ...shapes: readonly (readonly number[])[]) {
  const plan = jit(f).plan(cudaTarget, ...shapes.map((shape) => ({ shape, dtype: "f32" as const })));
  return lowerPlan(plan).map((launch) =>
    launch.kind === "kernel"
      ? (launch.parts ?? [launch]).map(({ call }) => call.label).join(" ")
      : launch.kind
  );
}

Deno.test("updates of parameters of all sizes are one launch", () => {
  const update = (...xs: Tensor[]) => xs.map((x) => x.mul(0.5));
  assertEquals(launches(update, [300], [16, 3, 3, 7], [5]), ["map map map"]);
});

Deno.test("kernels that depend on each other are launches of their own", () => {
  assertEquals(
    launches((x, y) => [x.sum(0).add(y).sum()], [300, 40], [40]),
    ["reduce", "reduce"],
  );
  const chained = launches(
    (x, y) => {
      const product = x.mul(2).matmul(x);
      return [product, y.add(product.sum())];
    },
    [64, 64],
    [70],
  );
  assertEquals(chained, ["map", "matmul", "reduce", "map"]);
});

Deno.test("a kernel passes one launch that it does not depend on to join another, and no more", () => {
  assertEquals(
    launches((x, y, z) => [x.mul(2), y.matmul(y), z.mul(2)], [300], [64, 64], [70]),
    ["map map", "matmul"],
  );
  const far = launches((x, y, z) => [x.mul(2), y.matmul(y).matmul(y), z.mul(2)], [300], [64, 64], [70]);
  assertEquals(far, ["map", "matmul", "matmul", "map"]);
});

Deno.test("a reduction that fills the card has a launch of its own, a small one does not", () => {
  const sums = (...xs: Tensor[]) => xs.map((x) => x.sum(0));
  assertEquals(launches(sums, [64, 40], [32, 24]), ["reduce reduce"]);
  assertEquals(launches(sums, [64, 4 * 2 ** 17], [32, 24]), ["reduce", "reduce"]);
});

Deno.test("a launch has at most 128 arguments", () => {
  const shapes = Array.from({ length: 100 }, (_, i) => [i + 1]);
  const found = launches((...xs: Tensor[]) => xs.map((x) => x.mul(0.5)), ...shapes);
  assertEquals(found.map((labels) => labels.split(" ").length), [64, 36]);
});
