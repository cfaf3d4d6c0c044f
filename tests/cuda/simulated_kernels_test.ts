/**
 * Kernels on the simulated device that do the work of several: independent ones side by side in one launch, and reductions
 * whose last block folds what the others have left.
 */
import { assert, assertEquals } from "@std/assert";
import { open } from "../../src/runtime/devices.ts";
import type { Device } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { apart, test } from "./on_simulated.ts";
import { reverse } from "./simulated.ts";

/** Numbers without a pattern. */
const noise = (count: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * i) * 3 + 0.1);

type Traced = (...xs: Tensor[]) => readonly Tensor[];

/** The results of runs of a function on the same arrays, and the launches of the captured graph. */
async function results(device: Device, f: Traced, shapes: readonly (readonly number[])[], runs: number) {
  const step = jit(f);
  const inputs = shapes.map((shape) => device.array(noise(shape.reduce((a, b) => a * b, 1)), shape));
  const all: number[][] = [];
  for (let run = 0; run < runs; run++) {
    if (device.name === "cuda") reverse(run % 2 === 1);
    const outputs = step(...inputs);
    const read = await Promise.all(outputs.map((output) => output.read()));
    all.push(read.flatMap((data) => Array.from(data as Float32Array)));
    outputs.forEach((output) => output.dispose());
  }
  inputs.forEach((input) => input.dispose());
  if (device.name === "cuda") reverse(false);
  return all;
}

const normalised = (x: Tensor) => {
  const centred = x.sub(x.mean(0, { keepDims: true }));
  return centred.div(centred.square().mean(0, { keepDims: true }).add(1e-5).sqrt());
};
const softmax = (x: Tensor) => {
  const powers = x.sub(x.max(1, { keepDims: true })).exp();
  return powers.div(powers.sum(1, { keepDims: true }));
};

for (
  const [name, f, shapes] of [
    ["of columns", (x) => [x.sum(0), x.max(0)], [[20000, 24]]],
    ["of rows", (x, y) => [x.sum(1).mul(y)], [[3, 60000], [3]]],
    ["of everything", (x) => [x.square().mean()], [[200001]]],
    ["of few terms of columns, and what follows,", (x) => [normalised(x)], [[130, 20]]],
    ["of few terms of rows, and what follows,", (x) => [softmax(x)], [[300, 10]]],
    ["beside each other", (x, y, z) => [y.sum(0), x.sum(0), z.mul(2)], [[20000, 24], [50, 3], [77]]],
  ] satisfies [string, Traced, number[][]][]
) {
  test(
    `reductions ${name} have the same bits whichever block is last, run after run`,
    async (device, backend) => {
      const [first, ...others] = await results(device, f, shapes, 5);
      others.forEach((other) => assertEquals(other, first));
      await using reference = await open("reference");
      const [expected] = await results(reference, f, shapes, 1);
      assert(apart(first!, expected!) < 1e-6);
      assertEquals(backend.graphs.map(({ nodes }) => nodes), [1]);
    },
  );
}

test("kernels side by side give the bits that each gives alone", async (device) => {
  const scale = (x: Tensor) => x.mul(0.3).add(1);
  const norm = (x: Tensor) => x.square().sum();
  const all: Traced = (a, b, c, d) => [scale(a), norm(b), scale(c), norm(d)];
  const shapes = [[300], [900], [64, 40], [50, 3]];
  const [together] = await results(device, all, shapes, 1);
  const alone: number[] = [];
  for (const [i, g] of [scale, norm, scale, norm].entries()) {
    const [own] = await results(device, (x) => [g(x!)], [shapes[i]!], 1);
    alone.push(...own!);
  }
  assertEquals(together, alone);
});
