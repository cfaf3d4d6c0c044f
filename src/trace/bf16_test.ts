import { assert, assertEquals } from "@std/assert";
import { Random } from "../../tests/ops/random.ts";
import { bf16Bits, bf16Value, fromBf16, roundBf16, toBf16 } from "./bf16.ts";

Deno.test("every bfloat16 converts to its value and back", () => {
  for (let bits = 0; bits < 2 ** 16; bits++) {
    const value = bf16Value(bits);
    if (Number.isNaN(value)) assert(Number.isNaN(roundBf16(value)));
    else assertEquals(bf16Bits(value), bits);
  }
});

Deno.test("bf16Bits() rounds to nearest, ties to even", () => {
  const random = new Random(5);
  for (let i = 0; i < 20_000; i++) {
    const x = Math.fround((random.unit() * 2 - 1) * 2 ** random.int(-130, 127));
    const bits = bf16Bits(x);
    const off = Math.abs(bf16Value(bits) - x);
    for (const neighbour of [bits - 1, bits + 1].map((b) => bf16Value(b & 0xffff))) {
      if (Number.isFinite(neighbour)) assert(off <= Math.abs(neighbour - x), `${x}`);
    }
  }
  assertEquals([1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8].map(roundBf16), [1, 1 + 2 ** -6, -1]); // ties
  assertEquals([3.4e38, -3.4e38, Infinity].map(roundBf16), [Infinity, -Infinity, Infinity]);
  assertEquals(roundBf16(2 ** -134), 0); // half of the smallest
  assert(Object.is(roundBf16(-0), -0));
  // It is rounded to float32 first: rounded directly, it would be the upper neighbour.
  assertEquals(roundBf16(1 + 2 ** -8 + 2 ** -40), 1);
});

Deno.test("toBf16() and fromBf16() convert lists", () => {
  assertEquals([...fromBf16(toBf16([0.1, -2, NaN]))], [0.10009765625, -2, NaN]);
});
