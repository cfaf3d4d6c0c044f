import { assertEquals, assertThrows } from "@std/assert";
import { fourOf } from "./shapes.ts";

Deno.test("fourOf() refuses every rank but four", () => {
  assertEquals(fourOf([2, 0, 4, 5]), [2, 0, 4, 5]);
  for (const shape of [[], [1, 2, 3], [1, 2, 3, 4, 5]]) {
    assertThrows(() => fourOf(shape), RangeError, `[${shape.join(", ")}]`);
  }
});
