import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { treeFlatten, treeLeaves, treeMap, treeUnflatten } from "./tree.ts";

Deno.test("treeFlatten() and treeUnflatten() are inverse and name every leaf", () => {
  const tree = { layer1: [{ weight: 1, bias: 2 }, 3], fc: { weight: 4 }, empty: {} };
  const { leaves, paths, structure } = treeFlatten<number>(tree);
  assertEquals(paths, ["layer1.0.weight", "layer1.0.bias", "layer1.1", "fc.weight"]);
  assertEquals(leaves, [1, 2, 3, 4]);
  assertEquals(treeUnflatten(structure, leaves), tree);
});

Deno.test("treeFlatten() treats class instances and typed arrays as leaves, and drops undefined", () => {
  const date = new Date(0);
  const { leaves, paths } = treeFlatten<unknown>({ a: date, b: undefined, c: new Float32Array(2) } as never);
  assertEquals(paths, ["a", "c"]);
  assertEquals(leaves[0], date);
});

Deno.test("treeFlatten() gives a single leaf the empty path", () => {
  assertEquals(treeFlatten(7), { leaves: [7], paths: [""], structure: 0 });
});

Deno.test("treeMap() joins trees leaf by leaf and keeps the structure", () => {
  assertEquals(treeMap((a: number, b: number) => a * b, { x: [1, 2], y: 3 }, { x: [4, 5], y: 6 }), {
    x: [4, 10],
    y: 18,
  });
  assertEquals(treeLeaves<number>({ x: [1, 2], y: 3 }), [1, 2, 3]);
});

Deno.test("treeMap() names the first place where trees differ", () => {
  assertThrows(
    () => treeMap((a: number, b: number) => a + b, { a: 1, b: 2 }, { a: 1, c: 2 }),
    LocalgradError,
    '"b"',
  );
  assertThrows(
    () => treeMap((a: number, b: number) => a + b, { a: 1 }, { a: 1, c: 2 }),
    LocalgradError,
    '"c"',
  );
});

Deno.test("treeFlatten() refuses a tree that contains itself, but not one with a shared part", () => {
  const part = { w: 1 };
  assertEquals(treeFlatten<number>({ a: part, b: [part, part] }).paths, ["a.w", "b.0.w", "b.1.w"]);
  const cycle: { a: unknown[] } = { a: [1] };
  cycle.a.push(cycle);
  assertThrows(() => treeFlatten(cycle as never), LocalgradError, 'contains itself at "a.1"');
});
