import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import * as keys from "../base/random.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import * as random from "./random.ts";
import type { Tensor } from "./tensor.ts";

Deno.test("random.foldIn() derives the host's keys, from numbers and from scalars of a program", async () => {
  await using device = await open("cpu", { threads: 1 });
  for (const n of [0, 1, 12345, 2 ** 31, 2 ** 32 - 1]) {
    const key = Uint32Array.of(0x9e3779b9, n);
    const derived = jit((key: Tensor, n2: Tensor) => [random.foldIn(key, n), random.foldIn(key, n2)], {
      device,
    })(
      key,
      Uint32Array.of(n),
    );
    for (const array of derived) {
      assertEquals([...await array.read()], [...keys.foldIn(key, n)]);
      array.dispose();
    }
  }
});

Deno.test("random.normal() draws the host's numbers", async () => {
  await using device = await open("cpu", { threads: 1 });
  using drawn = jit((key: Tensor) => random.normal(key, [7, 143]), { device })(keys.key(5));
  const [got, want] = [await drawn.read(), keys.normal(keys.key(5), 1001)];
  want.forEach((x, i) => assertAlmostEquals(got[i] ?? NaN, x, 4e-6));
});

Deno.test("random.bernoulli() is true as often as it should be, and always or never at the ends", async () => {
  await using device = await open("reference");
  const f = jit((key: Tensor, p: Tensor) => [
    random.bernoulli(key, [4000], 0.3),
    random.bernoulli(key, [100], 0),
    random.bernoulli(key, [100], 1),
    random.bernoulli(key, [2, 50], p),
  ], { device });
  const results = f(keys.key(8), device.array([0, 1], [2, 1]));
  const counts = await Promise.all(results.map(async (array) => {
    const coins = [...await array.read()];
    array.dispose();
    return coins.reduce((sum, coin) => sum + coin, 0);
  }));
  assert(Math.abs((counts[0] ?? 0) - 1200) < 4 * Math.sqrt(4000 * 0.21), `${counts[0]} of 4000`);
  assertEquals(counts.slice(1), [0, 100, 50]);
});

Deno.test("random.bernoulli() and random.foldIn() refuse numbers out of range", async () => {
  await using device = await open("reference");
  const refused = (f: (key: Tensor) => Tensor, says: string) =>
    assertThrows(() => jit(f, { device })(keys.key(1)), LocalgradError, says);
  refused((key) => random.bernoulli(key, [2], 1.5), "the probability must be in [0, 1], not 1.5");
  refused((key) => random.bernoulli(key, [2], NaN), "the probability must be in [0, 1], not NaN");
  refused(
    (key) => random.foldIn(key, -1),
    "random.foldIn: the number must be a whole number from 0 to 4294967295",
  );
});
