import { assert, assertEquals } from "@std/assert";
import { evaluateBounded } from "../../../tests/ops/bounds.ts";
import { assertSameBits, type Case, checkCases, opCase, runAll } from "../../../tests/ops/check.ts";
import { f32, Random } from "../../../tests/ops/random.ts";
import { unfusedPlan } from "../../../tests/ops/unfused.ts";
import { withCpu } from "../../../tests/ops/with_cpu.ts";
import type { HostData, Shape } from "../../trace/dtype.ts";
import type { ConvAttrs } from "../../trace/ops.ts";
import { shapeRules } from "../../trace/shape_rules.ts";
import type { Backend } from "../backend.ts";
import { forwardCorrelation, inputGradCorrelation } from "./conv_geometry.ts";
import { winogradPays } from "./conv_winograd.ts";

const plain: ConvAttrs = { strides: [1, 1], padding: [[1, 1], [1, 1]], dilation: [1, 1], groups: 1 };

/** Images, height, width, channels and features of a convolution. */
type Extents = readonly [number, number, number, number, number];

interface Geometry {
  readonly image: Shape;
  readonly filter: Shape;
  readonly y: Shape;
  readonly attrs: ConvAttrs;
}

function geometry([n, h, w, c, k]: Extents, attrs: ConvAttrs = plain): Geometry {
  const [image, filter] = [[n, h, w, c], [k, 3, 3, c]];
  return { image, filter, y: shapeRules.conv([f32(...image), f32(...filter)], attrs).shape, attrs };
}

/** True if minimal filtering is used: by the forward convolution and the filter gradient; by the input gradient. */
function filtered({ image, filter, y, attrs }: Geometry): [boolean, boolean] {
  return [
    winogradPays(forwardCorrelation(image, filter, y, attrs)),
    winogradPays(inputGradCorrelation(y, filter, image, attrs)),
  ];
}

function casesOf(random: Random, { image, filter, y, attrs }: Geometry): Case[] {
  const [x, w, dy] = [image, filter, y].map((shape) => f32(...shape));
  const [a, b, c] = [x, w, dy].map((aval) => random.elements(aval));
  return [
    opCase("conv", [x, w], attrs, [a, b]),
    opCase("convInputGrad", [dy, w], { ...attrs, inputShape: image }, [c, b]),
    opCase("convFilterGrad", [x, dy], { ...attrs, filterShape: filter }, [a, c]),
  ];
}

/** Shapes of more than one band, unit, chunk and division, whose last ones are smaller, and random ones. */
function geometries(random: Random): Geometry[] {
  const cut: Extents[] = [
    [2, 37, 35, 24, 16],
    [37, 8, 8, 16, 24],
    [1, 12, 13, 64, 40],
    [35, 7, 7, 8, 8],
    [1, 4, 139, 8, 16],
  ];
  const found = cut.map((extents) => geometry(extents));
  while (found.length < 24) {
    const channels = () => 8 * random.int(1, 4);
    const pair = () => [random.int(0, 2), random.int(0, 2)] as const;
    const [height, width] = [random.int(3, 14), random.int(3, 14)];
    const images = random.int(1, Math.ceil(600 / (height * width)));
    const extents = [images, height, width, channels(), channels()] as const;
    const attrs = { ...plain, padding: [pair(), pair()] as const };
    const candidate = geometry(extents, attrs);
    if (filtered(candidate).every((pays) => pays)) found.push(candidate);
  }
  return found;
}

function resultsOf(backend: Backend, cases: readonly Case[]): Promise<(HostData[] | Error)[]> {
  return runAll(
    backend,
    cases.map(({ program, inputs }) => () => ({ plan: unfusedPlan(program, backend.target), inputs })),
  );
}

Deno.test("minimal filtering agrees with the definition, with the same bits on any number of threads", async () => {
  const random = new Random(5);
  const cases = geometries(random).flatMap((shapes) => {
    assertEquals(filtered(shapes), [true, true]);
    return casesOf(random, shapes);
  });
  await withCpu(2, (backend) => checkCases(backend, cases, unfusedPlan));
  const one = await withCpu(1, (backend) => resultsOf(backend, cases));
  for (const threads of [2, 3, 7]) {
    assertSameBits(await withCpu(threads, (backend) => resultsOf(backend, cases)), one);
  }
});

Deno.test("minimal filtering loses little more to rounding than the definition", async () => {
  const cases = casesOf(new Random(6), geometry([2, 16, 16, 32, 32]));
  const results = await withCpu(1, (backend) => resultsOf(backend, cases));
  for (const [i, { label, program, inputs }] of cases.entries()) {
    const result = results[i];
    if (result instanceof Error) throw result;
    const [{ data }] = evaluateBounded(program, inputs);
    const norm = (values: Float64Array) => Math.hypot(...values);
    const error = norm(data.map((x, k) => x - result[0][k])) / norm(data);
    assert(error < 4e-7, `${label}: relative error ${error}`);
  }
});

Deno.test("minimal filtering is chosen by shape", () => {
  const forward = (extents: Extents, attrs: Partial<ConvAttrs> = {}) =>
    filtered(geometry(extents, { ...plain, ...attrs }))[0];
  assertEquals(forward([32, 32, 32, 16, 16]), true);
  assertEquals(forward([1, 8, 8, 64, 64]), true);
  assertEquals(forward([32, 32, 32, 3, 16]), false);
  assertEquals(forward([32, 32, 32, 12, 16]), false);
  assertEquals(forward([32, 16, 16, 16, 10]), false);
  assertEquals(forward([32, 16, 16, 16, 16], { strides: [2, 2] }), false);
  assertEquals(forward([32, 16, 16, 16, 16], { strides: [1, 2] }), false);
  assertEquals(forward([32, 16, 16, 16, 16], { dilation: [2, 2], padding: [[2, 2], [2, 2]] }), false);
  assertEquals(forward([32, 3, 3, 64, 64]), false); // four tiles for nine pixels
  assertEquals(forward([1, 4, 4, 64, 64]), false); // four tiles in all
  assertEquals(forward([16, 16, 2, 8, 8], { padding: [[1, 1], [2, 0]] }), false); // a tap sees padding alone
  assertEquals(forward([16, 16, 4, 8, 8], { padding: [[1, 1], [2, 0]] }), true);
});
