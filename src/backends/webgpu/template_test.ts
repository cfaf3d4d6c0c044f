import { assertEquals, assertThrows } from "@std/assert";
import { specialise } from "./template.ts";

const lines = (...text: string[]): string => text.join("\n");

Deno.test("specialise() replaces names by values, with and without braces", () => {
  assertEquals(specialise("a$N b_${N}_c $T(1) // $N.", { N: 12, T: "vec4f" }), "a12 b_12_c vec4f(1) // 12.");
});

Deno.test("specialise() repeats lines for every index, nested loops too", () => {
  const text = lines("$for i ROWS", "row $i", "$for j 2", "  at $i $j", "$end", "$end", "end");
  assertEquals(
    specialise(text, { ROWS: 2 }),
    lines("row 0", "  at 0 0", "  at 0 1", "row 1", "  at 1 0", "  at 1 1", "end"),
  );
});

Deno.test("specialise() omits a loop of no iterations and everything in it", () => {
  assertEquals(
    specialise(lines("a", "$for i N", "$if X", "b", "$end", "$end", "c"), { N: 0, X: true }),
    lines("a", "c"),
  );
});

Deno.test("specialise() chooses between the parts of a condition, negated or not", () => {
  const text = lines(
    "$if A",
    "a",
    "$if !B",
    "not b",
    "$else",
    "b",
    "$end",
    "$else",
    "$for i 3",
    "c",
    "$end",
    "$end",
    "d",
  );
  assertEquals(specialise(text, { A: true, B: 0 }), lines("a", "not b", "d"));
  assertEquals(specialise(text, { A: 1, B: 1 }), lines("a", "b", "d"));
  assertEquals(specialise(text, { A: false, B: 1 }), lines("c", "c", "c", "d"));
});

Deno.test("specialise() refuses a name without a value", () => {
  assertThrows(() => specialise("x $MISSING", {}), Error, "$MISSING");
});
