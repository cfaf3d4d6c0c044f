import { assertEquals, assertThrows } from "@std/assert";
import { noise, run } from "../../tests/run.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Tensor } from "../trace/tensor.ts";
import { imageAsTokens, tokenGrid, tokensAsImage } from "./tokens.ts";

Deno.test("tokenGrid() finds the parts of an image, with tokens that stand for none before them", () => {
  assertEquals(tokenGrid("x", 196, { height: 224, width: 224 }), { rows: 14, columns: 14, extra: 0 });
  assertEquals(tokenGrid("x", 197, { height: 224, width: 224 }), { rows: 14, columns: 14, extra: 1 });
  assertEquals(tokenGrid("x", 34, { height: 64, width: 32 }), { rows: 8, columns: 4, extra: 2 });
  assertThrows(
    () => tokenGrid("decoder", 60, { height: 32, width: 32 }),
    LocalgradError,
    "decoder: 60 tokens are no grid",
  );
});

Deno.test("tokens become an image and back, with zeros for those that stand for no part", () => {
  const grid = { rows: 2, columns: 3, extra: 1 };
  const given = noise("x", [2, 7, 4]);
  const { image, tokens } = run((x: Tensor) => {
    const image = tokensAsImage(x, grid);
    return { image, tokens: imageAsTokens(image, grid) };
  }, given);
  assertEquals(image!.shape, [2, 2, 3, 4]);
  assertEquals([...image!.data.subarray(0, 4)], [...given.data.subarray(4, 8)]);
  const expected = [...given.data].map((value, i) => i % 28 < 4 ? 0 : value);
  assertEquals([...tokens!.data], expected);
});
