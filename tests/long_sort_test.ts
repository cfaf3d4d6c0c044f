/** Sorting by the network that long axes take, on every backend. */

import { assert, assertEquals } from "@std/assert";
import { grad } from "../src/autograd/grad.ts";

import { referenceTarget } from "../src/backends/reference/target.ts";
import { at } from "../src/base/at.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { open } from "../src/runtime/devices.ts";
import { jit } from "../src/runtime/jit.ts";
import { iota } from "../src/trace/functions.ts";
import { HostArray } from "../src/trace/host_array.ts";
import { sort, sorted, topK } from "../src/trace/sorting.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { testOn } from "./parity/fixture.ts";

const [ROWS, LENGTH, COLUMNS] = [2, 21, 3];
const SIZE = ROWS * LENGTH * COLUMNS;

/** Numbers with many ties, zeros of both signs, infinities and NaN. */
const floats = Float32Array.from(
  { length: SIZE },
  (_, i) => [NaN, -Infinity, 0, -0, Infinity, 2.5, -2.5][(i * i + 5 * i) % 11] ?? ((i * 7919) % 23) - 11,
);
const integers = Int32Array.from(
  { length: SIZE },
  (_, i) => [2 ** 31 - 1, -(2 ** 31), 0, -1][(i * i + i) % 9] ?? ((i * 7919) % 23) - 11,
);

const isGreater = (a: number, b: number) => a > b || (Number.isNaN(a) && !Number.isNaN(b));

/** Where each element of a sorted column comes from: JavaScript's sort is stable. */
function orderOf(values: readonly number[], descending: boolean): number[] {
  return [...values.keys()].sort((i, j) => {
    const [a, b] = [at(values, i), at(values, j)];
    const order = Number(isGreater(a, b)) - Number(isGreater(b, a));
    return descending ? -order : order;
  });
}

/** The elements of an array `[rows, length, columns]`, each column along the middle axis rearranged by `f`. */
function byColumn(values: ArrayLike<number>, f: (column: readonly number[]) => readonly number[]): number[] {
  const result = new Array<number>(SIZE);
  for (let r = 0; r < ROWS; r++) {
    for (let c = 0; c < COLUMNS; c++) {
      const place = (i: number) => (r * LENGTH + i) * COLUMNS + c;
      const column = Array.from({ length: LENGTH }, (_, i) => at(values, place(i)));
      f(column).forEach((value, i) => result[place(i)] = value);
    }
  }
  return result;
}

async function check(device: Device): Promise<void> {
  const shape = [ROWS, LENGTH, COLUMNS];
  const network = (x: Tensor, descending: boolean) => sorted("sort", x, 1, descending, "network");
  const weighted = (x: Tensor) => network(x, false).values.mul(iota(shape, 1, "f32")).sum();
  const f = jit((x: Tensor, n: Tensor) => ({
    cases: [network(x, false), network(x, true), network(n, true), network(n.cast("u32"), true)],
    gradient: grad(weighted)(x),
  }), { device });
  const { cases, gradient } = f(new HostArray(floats, shape), new HostArray(integers, shape));
  const operands = [floats, floats, integers, Uint32Array.from(integers)];
  for (const [k, { values, indices }] of cases.entries()) {
    const order = (column: readonly number[]) => orderOf(column, k > 0);
    const ordered = (column: readonly number[]) => order(column).map((i) => at(column, i));
    assertEquals([...await indices.read()], byColumn(at(operands, k), order), `case ${k}`);
    assertEquals([...await values.read()], byColumn(at(operands, k), ordered), `case ${k}`); // tells −0 from 0
    values.dispose();
    indices.dispose();
  }
  const places = byColumn(floats, (column) => {
    const order = orderOf(column, false);
    return order.map((_, i) => order.indexOf(i));
  });
  assertEquals([...await gradient.read()], places);
  gradient.dispose();
  f.dispose();
}

await testOn(
  ["reference", "cpu", "cpu-onednn", "webgpu", "cuda-simulated", "cuda"],
  (backend) => `the sorting network on ${backend}: ties, zeros, infinities, NaN, integers, gradients`,
  check,
);

Deno.test("a million elements are sorted in one kernel for each of 210 steps, and 16 bytes each", () => {
  const n = 2 ** 20;
  const plan = jit((x: Tensor) => ({ ...sort(x) })).plan(referenceTarget, { shape: [n], dtype: "f32" });
  assert(plan.steps.length <= 216, `${plan.steps.length} steps`);
  assertEquals(plan.memory.peakBytes, n * (4 + 8 + 16));
});

Deno.test("cpu: 200,000 elements, the largest first", async () => {
  await using device = await open("cpu");
  const x = Float32Array.from({ length: 200_000 }, (_, i) => Math.imul(i, 0x9e3779b1));
  using y = jit((x: Tensor) => topK(x, 200_000).values, { device })(x);
  assertEquals(await y.read(), x.toSorted().reverse());
});
