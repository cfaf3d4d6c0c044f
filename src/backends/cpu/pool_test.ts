import { assertEquals } from "@std/assert";
import { assertSameBits, type Case, checkCases, opCase, runAll } from "../../../tests/ops/check.ts";
import { f32, Random } from "../../../tests/ops/random.ts";
import { unfusedPlan } from "../../../tests/ops/unfused.ts";
import { withCpu } from "../../../tests/ops/with_cpu.ts";
import type { Shape } from "../../trace/dtype.ts";
import type { Pair, PoolAttrs } from "../../trace/ops.ts";
import { shapeRules } from "../../trace/shape_rules.ts";
import type { Backend } from "../backend.ts";
import { isTiled } from "./pool_tiles.ts";

function attrsOf(window: Pair, strides: Pair, pad: number): PoolAttrs {
  return { window, strides, padding: [[pad, pad], [pad, pad]] };
}

/** Images, and poolings of them. */
const geometries: readonly (readonly [Shape, PoolAttrs])[] = [
  [[2, 37, 20, 8], attrsOf([3, 3], [2, 2], 1)], // three bands, with windows between them
  [[1, 40, 9, 5], attrsOf([5, 3], [1, 1], 1)], // five windows between two bands
  [[2, 30, 11, 4], attrsOf([2, 2], [3, 3], 0)], // rows in no window
  [[1, 21, 21, 6], attrsOf([5, 5], [2, 2], 2)], // windows that are not unrolled
  [[3, 16, 24, 16], attrsOf([4, 4], [4, 4], 0)], // tiles
  [[2, 7, 7, 20], attrsOf([7, 7], [7, 7], 0)],
  [[2, 6, 8, 3], attrsOf([3, 2], [3, 2], 0)],
  [[1, 18, 18, 4], attrsOf([9, 9], [9, 9], 0)], // more than 64 terms
];

function casesOf(random: Random, [shape, attrs]: typeof geometries[number]): Case[] {
  const image = f32(...shape), dy = shapeRules.maxPool([image], attrs);
  const ties = () => Float32Array.from(random.ints(shape.reduce((a, b) => a * b, 1), -3, 3));
  return [
    opCase("maxPool", [image], attrs, [ties()]),
    opCase("maxPoolGrad", [image, dy], attrs, [ties(), random.elements(dy)]),
    opCase("maxPoolPick", [image, image], attrs, [ties(), random.elements(image)]),
    opCase("avgPool", [image], attrs, [random.elements(image)]),
    opCase("avgPoolGrad", [dy], { ...attrs, inputShape: shape }, [random.elements(dy)]),
  ];
}

Deno.test("pooling by bands, tiles and unrolled windows agrees with the definition, on any number of threads", async () => {
  const random = new Random(41);
  const cases = geometries.flatMap((geometry) => casesOf(random, geometry));
  const run = (backend: Backend) =>
    runAll(
      backend,
      cases.map(({ program, inputs }) => () => ({ plan: unfusedPlan(program, backend.target), inputs })),
    );
  await withCpu(2, (backend) => checkCases(backend, cases, unfusedPlan));
  const one = await withCpu(1, run);
  for (const threads of [2, 3]) assertSameBits(await withCpu(threads, run), one);
});

Deno.test("a maximum's gradient goes to the first NaN, or to the first of equal maxima, infinite ones too", async () => {
  const random = new Random(42);
  const odd = [NaN, Infinity, -Infinity, -0, 0];
  const cases = geometries.flatMap(([shape, attrs]) => {
    const image = f32(...shape), dy = shapeRules.maxPool([image], attrs);
    return [0.02, 0.3].map((share) => {
      const values = Float32Array.from(
        random.ints(shape.reduce((a, b) => a * b, 1), 0, 1000),
        (i) => i < 1000 * share ? odd[i % odd.length]! : i % 7 - 3,
      );
      return opCase("maxPoolGrad", [image, dy], attrs, [values, random.elements(dy)]);
    });
  });
  await withCpu(2, (backend) => checkCases(backend, cases, unfusedPlan));
});

Deno.test("windows tile an image if each pixel is in exactly one", () => {
  const tiled = (image: Shape, attrs: PoolAttrs) =>
    isTiled({ image, y: shapeRules.maxPool([f32(...image)], attrs).shape }, attrs);
  assertEquals(tiled([2, 8, 8, 3], attrsOf([4, 2], [4, 2], 0)), true);
  assertEquals(tiled([2, 9, 8, 3], attrsOf([4, 2], [4, 2], 0)), false); // a row is left
  assertEquals(tiled([2, 8, 8, 3], attrsOf([4, 2], [2, 2], 0)), false);
  assertEquals(tiled([2, 6, 6, 3], attrsOf([4, 4], [4, 4], 1)), false);
});
