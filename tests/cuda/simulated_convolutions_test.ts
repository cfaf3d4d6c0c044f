/** Convolutions and products of the CUDA backend on the simulated device: the legacy API, epilogues, refusals. */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { open } from "../../src/runtime/devices.ts";
import { LocalgradError } from "../../src/base/errors.ts";
import { conv2d } from "../../src/trace/functions.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { convCases } from "../ops/cases/images.ts";
import { checkCases } from "../ops/check.ts";
import { Random } from "../ops/random.ts";
import { unfusedPlan } from "../ops/unfused.ts";
import { apart, test } from "./on_simulated.ts";
import { count, fail } from "./simulated.ts";

test(
  "cuDNN's legacy API computes convolutions as the reference does, if both sides have the same padding",
  async (_, backend) => {
    const alike = convCases(new Random(1)).filter(({ program }) =>
      program.instructions.every(({ attrs }) =>
        !("padding" in attrs) || attrs.padding.every(([before, after]) => before === after)
      )
    );
    assert(alike.length > 10);
    await checkCases(backend, alike, unfusedPlan);
  },
  { convolutions: "plain" },
);

test("uneven padding is refused with cuDNN's legacy API", async (_, backend) => {
  const uneven = convCases(new Random(1)).find(({ program }) =>
    program.instructions.some(({ attrs }) =>
      "padding" in attrs && attrs.padding[0][0] !== attrs.padding[0][1]
    )
  )!;
  const error = await checkCases(backend, [uneven], unfusedPlan).catch((error) => error);
  assertStringIncludes(error.message, "it pads one side more than the other");
}, { convolutions: "plain" });

test("products and convolutions with a bias and a ReLU agree with the reference", async (device) => {
  const random = new Random(3);
  const shapes = [[5, 7], [7, 6], [6], [2, 5, 5, 3], [6, 3, 3, 3]];
  const data = shapes.map((shape) => random.floats(shape.reduce((a, c) => a * c)));
  const results: number[][] = [];
  await using reference = await open("reference");
  for (const where of [device, reference]) {
    const layers = jit((x: Tensor, w: Tensor, b: Tensor, image: Tensor, filter: Tensor) => [
      x.matmul(w).add(b),
      x.matmul(w).relu(),
      x.matmul(w).add(b.mul(2)).relu(),
      conv2d(image, filter).add(b),
      conv2d(image, filter, { padding: 1 }).relu(),
      conv2d(image, filter, { strides: 2 }).add(b).relu(),
    ], { device: where });
    const arrays = data.map((values, i) => where.array(values, shapes[i]));
    for (let run = 0; run < 3; run++) { // the third launches a graph
      const made = layers(...arrays as [never, never, never, never, never]);
      if (run === 2) {
        results.push((await Promise.all(made.map((array) => array.read()))).flatMap((values) => [...values]));
      }
      made.forEach((array) => array.dispose());
    }
    arrays.forEach((array) => array.dispose());
    layers.dispose();
  }
  assert(apart(results[0], results[1]) < 1e-6);
});

test("an epilogue that cuDNN does not support stays a step of its own", async (device) => {
  const layer = jit((x: Tensor, w: Tensor, b: Tensor) => conv2d(x, w).add(b), { device });
  using x = device.array([1, 2, 3, 4], [1, 2, 2, 1]);
  using w = device.array([-1, 1], [2, 1, 1, 1]);
  using b = device.array([10, 20]);
  fail("finalize", 1); // of the graph with the bias
  using y = layer(x, w, b);
  assertEquals([...await y.read()], [9, 21, 8, 22, 7, 23, 6, 24]);
  layer.dispose();
});

test("plans of convolutions that no program uses any more do not accumulate", async (device) => {
  const f = jit((x: Tensor, w: Tensor) => conv2d(x, w), { device, maxPrograms: 2 });
  using w = device.array([2], [1, 1, 1, 1]);
  const held: number[] = [];
  for (let side = 1; side <= 400; side++) {
    using x = device.array(new Float32Array(side).fill(side), [1, 1, side, 1]);
    using y = f(x, w);
    if (side % 50 === 0) assertEquals((await y.read())[0], 2 * side);
    if (side === 300 || side === 400) held.push(count("cudnn descriptors"));
  }
  assert(held[1] <= held[0] + 20, `${held} descriptors after 300 and 400 shapes`);
});

test("a run that a library refuses has not overwritten donated inputs", async (device) => {
  const f = jit((w: Tensor, x: Tensor) => ({ w: w.add(1), product: x.matmul(x) }), { device, donate: [0] });
  using w = device.array([1, 2]);
  using x = device.array([1, 2, 3, 4], [2, 2]);
  fail("product", 1);
  assertThrows(() => f(w, x), LocalgradError, "has no algorithm");
  assertEquals([...await w.read()], [1, 2]);
  const { w: after, product } = f(w, x);
  assertEquals([...await after.read(), ...await product.read()], [2, 3, 7, 10, 15, 22]);
  [after, product].forEach((array) => array.dispose());
});
