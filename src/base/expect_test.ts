import { assertEquals, assertThrows } from "@std/assert";
import { HostArray } from "../trace/host_array.ts";
import { LocalgradError } from "./errors.ts";
import { expectObject, expectOptions, expectTaken, shared, shown, withArticle } from "./expect.ts";
import { nearest } from "./option_names.ts";

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

Deno.test("nearest() finds a name in another style, a synonym, a misspelling or an abbreviation, and no other", () => {
  const known = ["in", "out", "window", "strides", "padding", "learningRate", "keepDims"];
  const cases: [string, string | undefined][] = [
    ["learning_rate", "learningRate"],
    ["keepdims", "keepDims"],
    ["kernelSize", "window"],
    ["lr", "learningRate"],
    ["stride", "strides"],
    ["paddnig", "padding"],
    ["ni", "in"],
    ["pad", "padding"],
    ["windowSize", "window"],
    ["x", undefined],
    ["colour", undefined],
  ];
  assertEquals(cases.map(([name]) => [name, nearest(name, known)]), cases);
});

Deno.test("a function in place of what it makes is named, with its call", () => {
  const dgl = () => ({ name: "dgl" });
  class Layer {}
  const kinds = { name: "string" } as const;
  const expect = (value: unknown) => () =>
    expectObject("setup: the method", value as { name: string }, kinds);
  assertThrows(expect(dgl), LocalgradError, "with name, not the function dgl; call it: dgl()");
  assertThrows(expect(Layer), LocalgradError, "not the class Layer; make one of it");
  assertThrows(
    () => expectObject("setup", { method: dgl as object }, { method: "object" }),
    LocalgradError,
    "setup: method must be an object, not the function dgl; call it: dgl()",
  );
});

Deno.test("shared options are refused where no function takes them", () => {
  const options = shared({ a: 1, b: 2, c: 3 });
  expectOptions<{ a: number }>("first", options, { a: "number" });
  expectOptions<{ b: number }>("second", shared(options), { b: "number" });
  assertThrows(() => expectTaken("both", options), LocalgradError, 'both has no option "c"; it has a, b');
});
