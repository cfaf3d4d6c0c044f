import { assertEquals } from "@std/assert";
import * as data from "../data.ts";
import { publishedBytes } from "./datasets.ts";

Deno.test("the published bytes of a data set are those that it takes in training", () => {
  const few = data.residentBytes(data.shapes({ train: 20, test: 10 }));
  assertEquals(publishedBytes("shapes"), few / 30 * (5000 + 1000));
  assertEquals(publishedBytes("cifar10"), 60_000 * (32 * 32 * 3 + 4));
  assertEquals(publishedBytes("svhn"), (73_257 + 26_032) * (32 * 32 * 3 + 4));
  assertEquals(publishedBytes("stl10"), (5000 + 8000) * (96 * 96 * 3 + 4));
  assertEquals(publishedBytes("cifar100-coarse"), 60_000 * (32 * 32 * 3 + 4));
  assertEquals(publishedBytes("mnist"), 70_000 * (28 * 28 * 3 + 4));
  assertEquals(publishedBytes("folder"), 0); // decoded as they are needed
});
