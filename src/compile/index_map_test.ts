import { assert, assertEquals } from "@std/assert";
import { generatorOf } from "../../tests/random_program.ts";
import { type Shape, sizeOf, stridesOf } from "../trace/dtype.ts";
import { identityMap, type IndexMap, reshapeMap, viewOf } from "./index_map.ts";

/** The row-major element that a map gives at each point of a space. */
function elementsAt(map: IndexMap, shape: Shape, space: Shape): number[] {
  const { offset, strides } = viewOf(map, shape, space.length);
  const steps = stridesOf(space);
  return Array.from(
    { length: sizeOf(space) },
    (_, point) =>
      space.reduce(
        (sum, extent, axis) => sum + Math.floor(point / steps[axis]) % extent * strides[axis],
        offset,
      ),
  );
}

/** Checks that the index of each axis is within its extent, so that the flat element is the right one. */
function inBounds(map: IndexMap, shape: Shape, space: Shape): boolean {
  return map.every(({ offset, strides }, axis) =>
    offset + strides.reduce((sum, stride, i) => sum + stride * (space[i] - 1), 0) < shape[axis]
  );
}

function shapesOf(size: number, random: () => number): Shape {
  const shape: number[] = [];
  for (let rest = size; rest > 1;) {
    const divisors = Array.from({ length: rest }, (_, i) => i + 1).filter((d) => rest % d === 0);
    const extent = divisors[Math.floor(random() * divisors.length)];
    shape.push(extent);
    rest /= extent;
  }
  return shape;
}

Deno.test("reshapeMap() reads the same elements, after the splits that it requires", () => {
  const random = generatorOf(1);
  const found = { affine: 0, cut: 0, impossible: 0 };
  for (let round = 0; round < 2000; round++) {
    const size = [12, 24, 36, 60, 64][round % 5];
    const [shape, operand] = [shapesOf(size, random), shapesOf(size, random)];
    let space = shape.filter((extent) => extent !== 1);
    for (;;) {
      const map = identityMap(shape, space);
      assertEquals(elementsAt(map, shape, space), Array.from({ length: size }, (_, i) => i));
      const moved = reshapeMap(map, shape, operand, space);
      if (moved === undefined) {
        found.impossible++;
        break;
      }
      if ("axis" in moved) {
        found.cut++;
        const { axis, inner } = moved;
        assert(inner > 1 && inner < space[axis], `cuts ${space[axis]} into parts of ${inner}`);
        space = space.toSpliced(axis, 1, space[axis] / inner, inner);
        continue;
      }
      found.affine++;
      assert(inBounds(moved, operand, space), `[${shape}] to [${operand}] over [${space}]`);
      assertEquals(elementsAt(moved, operand, space), elementsAt(map, shape, space));
      break;
    }
  }
  assert(Object.values(found).every((count) => count > 50), JSON.stringify(found));
});

Deno.test("reshapeMap() sees through strides, offsets and repeats", () => {
  // Rows 1 and 3 of [4, 6], each repeated, as parts of [4, 2, 3].
  const map: IndexMap = [{ offset: 1, strides: [2, 0, 0, 0] }, { offset: 0, strides: [0, 0, 3, 1] }];
  const space = [2, 5, 2, 3];
  const moved = reshapeMap(map, [4, 6], [4, 2, 3], space);
  assert(Array.isArray(moved));
  assertEquals(elementsAt(moved as IndexMap, [4, 2, 3], space), elementsAt(map, [4, 6], space));
});
