/** Convolutions and products of the CUDA backend on the simulated device: the legacy API, epilogues, refusals. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { LibraryError } from "../../ffi/status.ts";
import type { Device } from "../../src/runtime/arrays.ts";
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
import { count, fail, report } from "./simulated.ts";

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

for (
  const [kind, options] of [["multiply", {}], ["convolution", { convolutions: "plain" }]] as const
) {
  const layer = (device: Device) =>
    jit((x: Tensor, w: Tensor) => kind === "multiply" ? x.matmul(w) : conv2d(x, w), { device });
  const run = async (device: Device, x: readonly number[], width: number) => {
    const shapes = kind === "multiply"
      ? [[2, width], [width, 2]] as const
      : [[1, 2, width, 1], [1, 1, 1, 1]] as const;
    const w = kind === "multiply" ? [2, 0, 0, 2, 0, 0].slice(0, 2 * width) : [2];
    return [...await layer(device)(device.array(x, shapes[0]), device.array(w, shapes[1])).read()];
  };
  test(`an algorithm whose first '${kind}' fails gives way to the next`, async (device) => {
    fail(kind, 1);
    assertEquals(await run(device, [1, 2, 3, 4], 2), [2, 4, 6, 8]);
    fail(kind, 1); // the next one has run before
    const error = await assertRejects(() => run(device, [1, 2, 3, 4], 2), LibraryError);
    assertStringIncludes(error.message, kind === "multiply" ? "multiplying" : "running");
    fail(kind, 1, 2); // both, for another shape
    await assertRejects(() => run(device, [1, 2, 0, 3, 4, 0], 3), LocalgradError);
    fail(kind, 0);
  }, options);
}

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

/** Runs a convolution with a bias three times (the third launches a graph): [[-1], [1]] on 1, 2, 3, 4, plus 10, 20. */
async function biased(device: Device): Promise<number[][]> {
  const layer = jit((x: Tensor, w: Tensor, b: Tensor) => conv2d(x, w).add(b), { device });
  using x = device.array([1, 2, 3, 4], [1, 2, 2, 1]);
  using w = device.array([-1, 1], [2, 1, 1, 1]);
  using b = device.array([10, 20]);
  try {
    const results: number[][] = [];
    for (let run = 0; run < 3; run++) {
      using y = layer(x, w, b);
      results.push([...await y.read()]);
    }
    return results;
  } finally {
    layer.dispose();
  }
}

const BIASED = Array.from({ length: 3 }, () => [9, 21, 8, 22, 7, 23, 6, 24]);

// The simulated cuDNN offers three engines that may be taken, for each graph.
test("an engine that cannot be built is passed over, whatever the reason", async (device) => {
  fail("engine", 1, 2);
  const before = count("launches");
  assertEquals(await biased(device), BIASED);
  assertEquals(count("launches") - before, 2); // of the graph: the bias is cuDNN's
});

test("a bias stays a step of its own if none of cuDNN's engines with it can be built", async (device) => {
  fail("engine", 1, 3);
  const before = count("launches");
  assertEquals(await biased(device), BIASED);
  assertEquals(count("launches") - before, 4); // the graph's, and the bias in the first run and in the capture
});

test("a convolution of which no engine can be built is refused, with the reasons", async (device) => {
  fail("engine", 1, Infinity);
  const error = await assertRejects(() => biased(device), LocalgradError);
  assertStringIncludes(error.message, "none of its 21 engines works");
  assertStringIncludes(
    error.message,
    "3 × cuDNN: finalising CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR failed with",
  );
});

test("a plan that was described wrongly is an error, and no reason to take another", async (device) => {
  fail("malformed", 1);
  await assertRejects(() => biased(device), LibraryError, "CUDNN_STATUS_BAD_PARAM");
  assertEquals(await biased(device), BIASED);
});

test("an engine that fails in the first run gives way to the next", async (device) => {
  fail("convolution", 1, 2);
  assertEquals(await biased(device), BIASED);
});

test("a convolution of which every engine fails is refused, with the reasons", async (device) => {
  fail("convolution", 1, Infinity);
  const error = await assertRejects(() => biased(device), LocalgradError);
  assertStringIncludes(error.message, "cuDNN cannot run conv(");
  assertStringIncludes(error.message, "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER");
});

test("an engine that has worked is not replaced when it fails", async (device) => {
  assertEquals(await biased(device), BIASED);
  fail("convolution", 1);
  await assertRejects(() => biased(device), LibraryError, "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER");
  assertEquals(await biased(device), BIASED);
}, { graphs: false });

test("a convolution that fails on a lost card reports the card's error", async (device) => {
  fail("convolution", 1);
  fail("lost", 1);
  await assertRejects(() => biased(device), LibraryError, "CUDA_ERROR_LAUNCH_FAILED");
  report();
});

test("a bias stays a step of its own if cuBLASLt has no algorithm with it", async (device) => {
  const layer = jit((x: Tensor, w: Tensor, b: Tensor) => x.matmul(w).add(b), { device });
  using x = device.array([1, 2, 3, 4], [2, 2]);
  using w = device.array([1, 0, 0, -1], [2, 2]);
  using b = device.array([10, 20]);
  fail("epilogue", 1);
  const before = count("launches");
  for (let run = 0; run < 3; run++) {
    using y = layer(x, w, b);
    assertEquals([...await y.read()], [11, 18, 13, 16]);
  }
  assertEquals(count("launches") - before, 4); // the bias, issued and captured, and two graphs
  layer.dispose();
});

// The simulated cuBLASLt refuses them, as the real one may.
for (const dtype of ["f32", "bf16"] as const) {
  test(`products with one row, column or term are kernels with their bias in ${dtype}`, async (device) => {
    const random = new Random(5);
    await using reference = await open("reference");
    for (
      const [m, k, n] of [[1, 9, 12], [12, 9, 1], [12, 1, 8], [1, 9, 1], [1, 1, 8], [1, 4096, 8], [1, 1, 1]]
    ) {
      for (const turned of [false, true]) {
        const shapes = [turned ? [k, m] : [m, k], turned ? [n, k] : [k, n], [n]];
        const data = shapes.map((shape) => random.floats(shape.reduce((a, c) => a * c)));
        const results: number[][] = [];
        for (const where of [device, reference]) {
          const product = jit((a: Tensor, b: Tensor, c: Tensor) => {
            const [x, y, z] = [a, b, c].map((tensor) => tensor.cast(dtype));
            const xy = (turned ? x.transpose() : x).matmul(turned ? y.transpose() : y);
            return [xy.cast("f32"), xy.add(z).cast("f32")];
          }, { device: where });
          const arrays = data.map((values, i) => where.array(values, shapes[i]));
          const made = product(...arrays as [never, never, never]);
          const both = await Promise.all(made.map((array) => array.read()));
          results.push(both.flatMap((values) => [...values]));
          [...made, ...arrays].forEach((array) => array.dispose());
          product.dispose();
        }
        const off = apart(results[0], results[1]);
        assert(off < (dtype === "f32" ? 1e-6 : 5e-3), `${[m, k, n]} ${turned}: off by ${off}`);
      }
    }
  });
}

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
