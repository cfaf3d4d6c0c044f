/** Changes of images against torchvision's, see tests/fixtures/augment.py. */

import { assert, assertEquals } from "@std/assert";
import facts from "../../../tests/fixtures/augment.json" with { type: "json" };
import { hash } from "../../../tests/fixtures/formula.ts";
import { open } from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import { literal } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { brighten, contrast, equalize, factorOf, saturate, shiftHue, TURN } from "./colour.ts";
import { applyOps, OPS } from "./rand_augment.ts";

const EXTENTS = { height: 9, width: 12 };

/** Two images, one with bytes of any value, one with few; `times` over. */
function images(times: number, size: number): Int32Array {
  return Int32Array.from({ length: 2 * times * size }, (_, i) => {
    const isDim = Math.floor(i / size) % 2 === 1;
    const at = i % size;
    return isDim ? 40 + (hash("augment.dim", at) >>> 24) % 71 : hash("augment.noise", at) >>> 24;
  });
}

/** Changes the images in as many ways as there are results, and checks the share and the size of differences. */
async function check(
  expected: readonly (readonly [name: string, result: string])[],
  change: (images: Tensor) => Tensor,
  most: (name: string) => number,
  { height, width } = EXTENTS,
): Promise<void> {
  await using device = await open("cpu");
  const times = expected.length;
  const size = height * width * 3;
  const f = jit(change, { device });
  using given = device.array(images(times, size), [2 * times, height, width, 3]);
  using result = f(given);
  const got = await result.read();
  for (const [i, [name, base64]] of expected.entries()) {
    const wanted = Uint8Array.fromBase64(base64);
    assertEquals(wanted.length, 2 * size);
    const differences = Array.from(wanted, (value, at) => Math.abs(value - got[2 * i * size + at]!));
    const share = differences.filter((each) => each > 0).length / wanted.length;
    const largest = differences.reduce((a, b) => Math.max(a, b));
    assert(
      largest <= 1 && share <= most(name),
      `${name}: ${share} of the values differ, by ${largest} at most`,
    );
  }
}

const forBoth = (values: readonly number[]) => values.flatMap((value) => [value, value]);
const factors = (values: readonly number[]) => literal(forBoth(values), [2 * values.length, 1, 1, 1], "i32");
const named = (values: readonly number[], results: readonly string[]) =>
  results.map((result, i) => [`${values[i]}`, result] as const);

for (
  const [name, change] of [["brightness", brighten], ["contrast", contrast], [
    "saturation",
    saturate,
  ]] as const
) {
  Deno.test(`${name} is torchvision's where the factor is a multiple of 1/4096`, () =>
    check(
      named(facts.factors, facts[name]),
      (x) => change(x, factors(facts.factors.map(factorOf))),
      () => 0,
    ));
}

Deno.test("hue is torchvision's but for a few values, by one of 255", () =>
  check(
    named(facts.turns, facts.hue),
    (x) => shiftHue(x, factors(facts.turns.map((turn) => Math.round(turn * TURN)))),
    () => 0.01,
  ));

Deno.test("equalizing is torchvision's", () =>
  check([["equalize", facts.equalize]], equalize, () => 0, { height: 20, width: 24 }));

for (const [magnitude, results] of Object.entries(facts.operations)) {
  Deno.test(`the changes of RandAugment of magnitude ${magnitude} are torchvision's but for rounding`, () => {
    const cases = OPS.flatMap((_, op) => [-1, 1].map((sign) => ({ op, sign })));
    const each = (values: number[]) => literal(forBoth(values), undefined, "i32");
    return check(
      Object.entries(results),
      (x) =>
        applyOps(x, each(cases.map(({ op }) => op)), each(cases.map(({ sign }) => sign)), Number(magnitude)),
      // torchvision divides in f32, and rounds some exact quotients down; factors are multiples of 1/4096 here.
      (name) =>
        name.startsWith("AutoContrast") ? 0.06 : /Brightness|Color|Contrast|Sharpness/.test(name) ? 0.01 : 0,
    );
  });
}
