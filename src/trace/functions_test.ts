import { assert, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import { clamp, gelu, logSumExp, softmax } from "./activations.ts";
import { split } from "./functions.ts";
import { cumsum } from "./scan.ts";
import { norm, std, variance } from "./statistics.ts";
import type { Tensor } from "./tensor.ts";

Deno.test("variance() and norm() lose no digits at large means, and overflow only where the result does", async () => {
  await using device = await open("cpu", { threads: 1 });
  const values = Float32Array.from({ length: 1024 }, (_, i) => 10_000 + Math.sin(i * i));
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const expected = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
  const results = jit((x: Tensor) => [variance(x), norm(x.mul(1e-30)), norm(x.mul(1e32))], { device })(
    values,
  );
  const [spread, small, large] = await Promise.all(
    results.map(async (result) => (await result.read())[0] ?? NaN),
  );
  results.forEach((result) => result.dispose());
  const length = Math.hypot(...values);
  assert(Math.abs(spread! / expected - 1) < 1e-3, `${spread}, not ${expected}`);
  assert(Math.abs(small! / (length * 1e-30) - 1) < 1e-5, `${small}`);
  assert(Math.abs(large! / (length * 1e32) - 1) < 1e-5, `${large}`);
});

Deno.test("cumsum() stays accurate over long axes, and is planned in linear memory", async () => {
  await using device = await open("cpu", { threads: 1 });
  const length = 70_000;
  const f = jit((x: Tensor) => cumsum(x), { device });
  using sums = f(new Float32Array(length).fill(0.1));
  const got = await sums.read();
  for (const i of [0, 31, 32, 1023, 1024, 65_535, length - 1]) {
    const want = (i + 1) * Math.fround(0.1);
    assert(Math.abs((got[i] ?? NaN) / want - 1) < 5e-6, `sum ${i} is ${got[i]}, not ${want}`);
  }
  const { peakBytes } = f.plan(referenceTarget, { shape: [length], dtype: "f32" }).memory;
  assert(peakBytes < 5 * 4 * length, `${peakBytes} bytes for ${length} numbers`);
});

Deno.test("a product of batches with one matrix is one product, without copies", () => {
  const f = jit((x: Tensor, w: Tensor) => x.matmul(w, { transposeB: true }));
  const plan = f.plan(referenceTarget, { shape: [2, 3, 4, 8], dtype: "f32" }, {
    shape: [5, 8],
    dtype: "f32",
  });
  assertEquals(plan.steps.map((step) => step.kind === "op" ? step.instruction.op : step.kind), ["matmul"]);
  const [output] = plan.outputs;
  assertEquals(output && plan.values[output.value]?.shape, [2, 3, 4, 5]);
});

Deno.test("functions of tensors refuse wrong arguments", async () => {
  await using device = await open("reference");
  const x = device.array([1, 2, 3, 4, 5, 6], [2, 3]);
  const cases: [(x: Tensor) => Tensor, string][] = [
    [(x) => softmax(x, 2), "softmax(f32[2,3]): there is no axis 2"],
    [(x) => softmax(x.cast("i32")), "exp(i32[2,3]): needs f32 or bf16; cast it first"],
    [(x) => logSumExp(x, 5), "[5] are not distinct axes"],
    [
      (x) => gelu(x, { approximate: "erf" as "none" }),
      'gelu: approximate must be "none" or "tanh", not "erf"',
    ],
    [(x) => clamp(x.cast("i32"), { min: 0.5 }), "0.5 does not fit i32"],
    [
      (x) => variance(x, 0, { correction: 0.5 }),
      "variance: correction must be a whole number, 0 or more, not 0.5",
    ],
    [(x) => std(x, 0, { correction: -1 }), "std: correction must be a whole number, 0 or more, not -1"],
    [(x) => norm(x, 0, { order: 3 as 2 }), "norm: order must be 1, 2 or Infinity, not 3"],
    [(x) => cumsum(x, -3), "cumsum(f32[2,3]): there is no axis -3"],
    [(x) => split(x, 2, 1)[0] ?? x, "split(f32[2,3]): 2 equal parts do not fill axis 1, of extent 3"],
    [(x) => split(x, [1, 1], 1)[0] ?? x, "parts of 1, 1 do not fill axis 1, of extent 3"],
    [(x) => x.matmul(x.reshape(3, 2, 1).broadcastTo([5, 3, 2, 1])), "inner extents differ: 3 and 2"],
    [
      (x) => x.reshape(2, 1, 3).matmul(x.reshape(1, 1, 2, 3).broadcastTo([5, 3, 2, 3]), { transposeB: true }),
      "matmul(f32[2,1,3], f32[5,3,2,3]): batches [2] and [5,3] do not broadcast",
    ],
  ];
  for (const [f, says] of cases) assertThrows(() => jit(f, { device })(x), LocalgradError, says);
  x.dispose();
});
