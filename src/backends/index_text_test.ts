import { assertEquals } from "@std/assert";
import type { Kernel } from "../compile/kernel.ts";
import { identityOf } from "./identity.ts";
import {
  affine,
  axisNames,
  decode,
  element,
  isRun,
  keptShape,
  lastStride,
  stepsOf,
  type Walk,
  word,
} from "./index_text.ts";
import { reduction } from "./reference/reduction.ts";

const walk: Walk = { shape: [3, 5, 8], axes: axisNames(3), lanes: 4 };

Deno.test("decode() splits an index into those of the axes, the last axis fastest", () => {
  const lines = decode("id", stepsOf(walk), walk.axes, (definitions) => [definitions.join(", ")]);
  assertEquals(lines, ["i2 = id % 2u, ri2 = id / 2u", "i1 = ri2 % 5u, ri1 = ri2 / 5u", "i0 = ri1"]);
  // Evaluated at every index, in order.
  const body = lines.join(", ").replaceAll(/(\d+)u/g, "$1").replaceAll(/= (\w+ \/ \d+)/g, "= Math.floor($1)");
  const at = new Function("id", `const ${body}; return [i0, i1, i2];`);
  const expected = [0, 1, 2].flatMap((i) => [0, 1, 2, 3, 4].flatMap((j) => [0, 1].map((k) => [i, j, k])));
  assertEquals(expected.map((_, id) => at(id)), expected);
});

Deno.test("decode() declares nothing for a single point, and never divides by an empty axis", () => {
  const plain = (definitions: readonly string[]) => definitions;
  assertEquals(decode("id", [], [], plain), []);
  assertEquals(decode("id", [2, 0], ["a", "b"], plain), ["b = id % 1u", "rb = id / 1u", "a = rb"]);
});

Deno.test("element() is the affine index, modulo 2³², in steps of the lanes along the last axis", () => {
  assertEquals(element({ offset: 0, strides: [40, 8, 1] }, walk), "i0 * 40u + i1 * 8u + i2 * 4u");
  assertEquals(element({ offset: 7, strides: [0, 1, -1] }, walk), "i1 + i2 * 4294967292u + 7u");
  assertEquals(element({ offset: 0, strides: [0, 0, 0] }, walk), "0u");
  assertEquals(affine(-1, [], []), word(-1));
  assertEquals([word(-1), lastStride({ offset: 3, strides: [] })], ["4294967295u", 0]);
});

Deno.test("isRun() is true only for contiguous lanes that start at a multiple of their number", () => {
  const contiguous = { offset: 4, strides: [40, 8, 1] };
  assertEquals(isRun(contiguous, walk), true);
  assertEquals(isRun(contiguous, { ...walk, lanes: 1 }), false);
  assertEquals(isRun(contiguous, { ...walk, lanes: 8 }), false);
  assertEquals(isRun({ ...contiguous, offset: 2 }, walk), false);
  assertEquals(isRun({ ...contiguous, strides: [40, 6, 1] }, walk), false);
  assertEquals(isRun({ ...contiguous, strides: [40, 8, 2] }, walk), false);
});

Deno.test("keptShape() leaves out the reduced axes", () => {
  const kernel: Kernel = { space: [2, 3, 4], inputs: [], nodes: [], stores: [] };
  const reduce = { axes: [0, 2], reductions: [], epilogue: [], stores: [] };
  assertEquals([keptShape(kernel), keptShape({ ...kernel, reduce })], [[2, 3, 4], [3]]);
});

Deno.test("identityOf() is the value that the reference starts a reduction from", () => {
  for (const fn of ["sum", "max", "min"] as const) {
    for (const dtype of ["f32", "i32", "u32"] as const) {
      assertEquals(identityOf(fn, dtype), reduction(fn, dtype).start);
    }
  }
});
