import { assertEquals, assertThrows } from "@std/assert";
import { at } from "./at.ts";

Deno.test("at() returns the value at an index, and throws out of bounds", () => {
  assertEquals([at([0, 5], 0), at(Float32Array.of(1, 2), 1), at([undefined], 0)], [0, 2, undefined]);
  for (const index of [-1, 2, 0.5, NaN]) {
    assertThrows(() => at([0, 5], index), RangeError, `no value at index ${index} of 2`);
  }
});
