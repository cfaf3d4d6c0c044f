import { assert, assertEquals, assertThrows } from "@std/assert";
import { grad } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import { iota } from "./functions.ts";
import { sort, topK } from "./sorting.ts";
import type { Tensor } from "./tensor.ts";

/** JavaScript's stable sort of the indices, with NaN as the greatest. */
function expectedOrder(values: readonly number[], descending: boolean): number[] {
  const greater = (a: number, b: number) => a > b || (Number.isNaN(a) && !Number.isNaN(b));
  return values.map((_, i) => i).sort((i, j) => {
    const [a, b] = [values[i] ?? 0, values[j] ?? 0];
    const order = greater(a, b) ? 1 : greater(b, a) ? -1 : 0;
    return descending ? -order : order;
  });
}

Deno.test("sort() is stable, also in descending order", async () => {
  await using device = await open("reference");
  for (const length of [1, 2, 3, 4, 5, 8, 13, 33]) {
    // Few different numbers, so that there are many ties.
    const values = Array.from(
      { length },
      (_, i) => [2, NaN, -Infinity, 0, 1, Infinity][(i * i + 3 * i) % 7] ?? -1,
    );
    for (const descending of [false, true]) {
      using order = jit((x: Tensor) => sort(x, 0, { descending }).indices, { device })(
        Float32Array.from(values),
      );
      assertEquals([...await order.read()], expectedOrder(values, descending));
    }
  }
});

Deno.test("sort() takes integers over their whole range, bf16, and any axis", async () => {
  await using device = await open("reference");
  const f = jit((x: Tensor) => {
    const half = x.cast("f32").cast("bf16");
    return [
      sort(x, 0).values,
      sort(x.cast("u32"), 0, { descending: true }).values,
      sort(half, 1, { descending: true }).values.cast("f32"),
    ];
  }, { device });
  const results = f(device.array([2 ** 31 - 1, -1, -(2 ** 31), 5, 0, 7], [3, 2], "i32"));
  const [up, unsigned, halves] = await Promise.all(results.map((result) => result.read()));
  results.forEach((result) => result.dispose());
  assertEquals([...up ?? []], [-(2 ** 31), -1, 0, 5, 2 ** 31 - 1, 7]);
  assertEquals([...unsigned ?? []], [2 ** 31, 2 ** 32 - 1, 2 ** 31 - 1, 7, 0, 5]);
  assertEquals([...halves ?? []], [2 ** 31, -1, 5, -(2 ** 31), 7, 0]);
});

Deno.test("the gradients of sort() and topK() go to where the elements came from", async () => {
  await using device = await open("reference");
  const weighted = (f: (x: Tensor) => Tensor) =>
    grad((x: Tensor) => {
      const y = f(x);
      return y.mul(iota(y.shape, 0, "f32").add(1)).sum();
    });
  const f = jit((x: Tensor) => [
    weighted((x) => sort(x).values)(x),
    weighted((x) => topK(x, 2).values)(x),
  ], { device });
  const results = f(device.array([3, 1, 2, 1]));
  const [whole, largest] = await Promise.all(results.map((result) => result.read()));
  results.forEach((result) => result.dispose());
  assertEquals([...whole ?? []], [4, 1, 3, 2]);
  assertEquals([...largest ?? []], [1, 0, 2, 0]);
});

Deno.test("sorting is planned in linear memory, gradient included", () => {
  const f = jit((x: Tensor) => grad((x: Tensor) => sort(x).values.square().sum())(x));
  const { peakBytes } = f.plan(referenceTarget, { shape: [1000], dtype: "f32" }).memory;
  assert(peakBytes <= 10 * 4 * 1000, `${peakBytes} bytes for 1000 numbers`);
});

Deno.test("sort() and topK() refuse an axis that is not there, and more elements than there are", async () => {
  await using device = await open("reference");
  const x = device.array([1, 2, 3]);
  const refused = (f: (x: Tensor) => Tensor, says: string) =>
    assertThrows(() => jit(f, { device })(x), LocalgradError, says);
  refused((x) => sort(x, 1).values, "sort(f32[3]): there is no axis 1");
  refused((x) => sort(x.gt(1)).values, "sort(bool[3]): needs f32, bf16, i32 or u32; cast it first");
  refused((x) => topK(x, 4).values, "topK: k must be a whole number from 0 to 3, not 4");
  refused(
    (x) => sort(x.slice([0], [1]).broadcastTo([2 ** 22 + 1])).values,
    "sort(f32[4194305]): axis 0 has more than 4194304 elements",
  );
  x.dispose();
});
