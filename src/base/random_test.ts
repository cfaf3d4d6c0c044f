import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "./errors.ts";
import { bits, foldIn, key, normal, permutation, split, threefry2x32, uniform } from "./random.ts";

Deno.test("threefry2x32() returns the published known answers", () => {
  const cases = [ // kat_vectors of Random123: key, counter, result
    [[0, 0], [0, 0], [0x6b200159, 0x99ba4efe]],
    [[0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], [0x1cb996fc, 0xbb002be7]],
    [[0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3], [0xc4923a9c, 0x483df7a0]],
  ] as const;
  for (const [k, counter, expected] of cases) {
    assertEquals([...threefry2x32(Uint32Array.from(k), counter[0], counter[1])], [...expected]);
  }
});

Deno.test("key() keeps all 53 bits of a seed and refuses other numbers", () => {
  assertEquals([...key(5 * 2 ** 32 + 7)], [7, 5]);
  for (const bad of [-1, 0.5, NaN, 2 ** 53]) assertThrows(() => key(bad), LocalgradError);
});

Deno.test("bits() returns word 0 for the counter (i, 0)", () => {
  const random = bits(key(3), 5);
  assertEquals(random[4], threefry2x32(key(3), 4, 0)[0]);
});

Deno.test("counts of random numbers must be whole", () => {
  for (const draw of [bits, uniform, normal, permutation]) {
    assertThrows(() => draw(key(1), 1.5), LocalgradError, "must be a whole number of at least 0, not 1.5");
  }
});

Deno.test("uniform() and normal() have their moments", () => {
  const n = 20000;
  const moments = (x: Float32Array) => {
    const mean = x.reduce((a, b) => a + b, 0) / n;
    return [mean, x.reduce((a, b) => a + (b - mean) ** 2, 0) / n] as const;
  };
  const u = uniform(key(1), n);
  assert(u.every((v) => v >= 0 && v < 1));
  assertAlmostEquals(moments(u)[0], 0.5, 0.01);
  assertAlmostEquals(moments(u)[1], 1 / 12, 0.005);
  const [mean, variance] = moments(normal(key(2), n));
  assertAlmostEquals(mean, 0, 0.03);
  assertAlmostEquals(variance, 1, 0.04);
});

Deno.test("permutation() contains every number once, in an order that depends on the key", () => {
  const p = permutation(key(9), 1000);
  assertEquals([...p].sort((a, b) => a - b), Array.from({ length: 1000 }, (_, i) => i));
  assertNotEquals([...p], [...permutation(key(10), 1000)]);
  assertEquals([...permutation(key(9), 0)], []);
});

Deno.test("split() and foldIn() return keys that differ from each other and from their parent", () => {
  const parent = key(4);
  const all = [parent, ...split(parent, 20), foldIn(parent, 20)].map((k) => k.join());
  assertEquals(new Set(all).size, all.length);
});
