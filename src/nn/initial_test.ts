import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { key } from "../base/random.ts";
import type { HostArray } from "../trace/host_array.ts";
import { constantInitial, Initial, initialize, normalInitial, uniformInitial } from "./initial.ts";
import { conv } from "./conv.ts";
import { linear } from "./linear.ts";

const moments = (values: ArrayLike<number>) => {
  const list = Array.from(values);
  const mean = list.reduce((a, b) => a + b, 0) / list.length;
  return { mean, std: Math.sqrt(list.reduce((a, b) => a + (b - mean) ** 2, 0) / list.length) };
};

Deno.test("initialize() draws by seed and path alone", () => {
  const weight = () => normalInitial(1, [3, 5]);
  const alone = initialize({ a: { weight: weight() } }, key(1));
  const among = initialize({ z: { weight: weight() }, a: { weight: weight() } }, key(1));
  const at = (
    tree: unknown,
    name: string,
  ) => [...((tree as Record<string, Record<string, HostArray>>)[name]["weight"].data)];
  assertEquals(at(alone, "a"), at(among, "a"));
  assertNotEquals(at(among, "z"), at(among, "a"));
  assertNotEquals(at(initialize({ a: { weight: weight() } }, key(2)), "a"), at(alone, "a"));
});

Deno.test("copying() starts as the parameter of another path", () => {
  const weight = uniformInitial(2, [7]);
  const { a, b } = initialize({ a: { w: weight }, b: { w: weight.copying("a.w") } }, key(3)) as unknown as {
    [name: string]: { w: HostArray };
  };
  assertEquals([...b.w.data], [...a.w.data]);
  assert(new Set(a.w.data).size > 5);
});

Deno.test("conv() starts normal with variance 2 / (height · width · out)", () => {
  const { params } = conv({ in: 24, out: 40, window: [3, 5] }).init(key(4));
  const { data, shape } = params["weight"] as HostArray;
  assertEquals(shape, [40, 3, 5, 24]);
  const { mean, std } = moments(data);
  const expected = Math.sqrt(2 / (3 * 5 * 40));
  const error = expected / Math.sqrt(data.length);
  assertAlmostEquals(mean, 0, 4 * error);
  assertAlmostEquals(std, expected, 4 * error);
});

Deno.test("linear() and conv()'s bias start uniform within ±1/√inputs", () => {
  const { params } = linear({ in: 50, out: 60 }).init(key(5));
  const filter = conv({ in: 4, out: 300, window: 3, bias: true, groups: 2 }).init(key(5)).params;
  for (
    const [array, bound] of [
      [params["weight"], 1 / Math.sqrt(50)],
      [params["bias"], 1 / Math.sqrt(50)],
      [filter["bias"], 1 / Math.sqrt(3 * 3 * 2)],
    ] as [HostArray, number][]
  ) {
    assert(array.data.every((value) => Math.abs(value) <= bound));
    const { mean, std } = moments(array.data);
    const error = bound / Math.sqrt(array.data.length);
    assertAlmostEquals(mean, 0, 4 * error);
    assertAlmostEquals(std, bound / Math.sqrt(3), 4 * error);
  }
});

Deno.test("Initial refuses shapes without elements", () => {
  for (const shape of [[0], [3, -1], [2.5], [NaN]]) {
    assertThrows(() => new Initial(shape, () => new Float32Array()), LocalgradError, "shape");
  }
  assertEquals([...constantInitial(3, [2]).draw(key(0))], [3, 3]);
});
