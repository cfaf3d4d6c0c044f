import { assertEquals, assertThrows } from "@std/assert";
import { HostArray } from "../trace/host_array.ts";
import { LocalgradError } from "./errors.ts";
import { shown, withArticle } from "./expect.ts";

Deno.test("shown() names any value in few words, with the article of its sound", () => {
  const values = [
    [new AbortController(), "an AbortController"],
    [new Int8Array(1), "an Int8Array"],
    [new Error("x"), "an Error"],
    [new Uint8Array(1), "a Uint8Array"],
    [new URL("file:///x"), "a URL"],
    [new Map(), "a Map"],
    [{}, "an object"],
    [Object.create(null), "an object"],
    [[1], "a list"],
    [() => 0, "a function"],
    [null, "null"],
    [undefined, "undefined"],
    [1n, "1n"],
    ["x".repeat(61), `"${"x".repeat(60)}…"`],
  ] as const;
  for (const [value, text] of values) assertEquals(shown(value), text);
  assertEquals(
    ["UnsafePointer", "HTMLElement", "XMLHttpRequest", "Float32Array", "Response"].map(withArticle),
    ["an UnsafePointer", "an HTMLElement", "an XMLHttpRequest", "a Float32Array", "a Response"],
  );
});

Deno.test("other errors that name a type use the same articles", () => {
  const wrong = () => new HostArray(new Float32Array(1) as never, [1], "i32");
  assertThrows(wrong, LocalgradError, "pass an Int32Array, or a list");
});
