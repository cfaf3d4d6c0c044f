import { assertEquals } from "@std/assert";
import { jit } from "../../runtime/jit.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { lowerPlan } from "./lower.ts";
import { cudaTarget } from "./target.ts";

const planOf = (f: (x: Tensor) => Tensor, shape: readonly number[]) =>
  jit(f).plan(cudaTarget, { shape, dtype: "f32" });

/** The labels of the kernels of a function of one tensor. */
function labels(f: (x: Tensor) => Tensor, shape: readonly number[]): string[] {
  return lowerPlan(planOf(f, shape)).map((launch) =>
    launch.kind === "kernel" ? launch.call.label : launch.kind
  );
}

const softmax = (x: Tensor) => {
  const powers = x.sub(x.max(1, { keepDims: true })).exp();
  return powers.div(powers.sum(1, { keepDims: true }));
};
const centred = (x: Tensor) => x.sub(x.mean(0, { keepDims: true }));

Deno.test("statistics of a small batch and what is done with them are one launch", () => {
  assertEquals(labels(centred, [128, 64]), ["chain2"]);
  assertEquals(labels(centred, [2048, 8]), ["chain2"]);
  assertEquals(labels(softmax, [500, 10]), ["chain3"]);
});

Deno.test("a reduction in a chain has no workspace for parts, one alone has", () => {
  const workspaces = (f: (x: Tensor) => Tensor) =>
    planOf(f, [2048, 64]).steps.map(({ workspace }) => workspace?.bytes);
  assertEquals(workspaces(centred), [undefined, undefined]);
  assertEquals(workspaces((x) => x.sum(0)), [8 * 64 * 4]);
  assertEquals(labels((x) => x.sum(0), [2048, 64]), ["reduce"]);
});

Deno.test("a block does not take more than 2048 terms of a result alone", () => {
  assertEquals(labels(centred, [2049, 8]), ["reduce", "map"]);
});

Deno.test("kernels that exchange results of other blocks are launches of their own", () => {
  assertEquals(labels((x) => x.sub(x.sum(0).reshape(64, 1)), [64, 64]), ["reduce", "map"]);
  assertEquals(labels((x) => x.sub(x.sum(0)).max(1), [64, 64]), ["reduce", "reduce"]);
});
