import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { LocalgradError } from "../errors.ts";
import type { Model } from "../models/model.ts";
import { resnet110, resnet20, resnet32, resnet8 } from "../models/resnet.ts";
import { conv, linear } from "../nn/linear.ts";
import { globalAveragePooling } from "../nn/pooling.ts";
import { treePaths } from "../trace/tree.ts";
import { type Modules, partition, whole } from "./partition.ts";

/** Last block of each module but the last. */
const boundaries = (model: Model, modules: Modules) =>
  partition(model, modules).modules.slice(0, -1).map((module) => module.blocks.at(-1)!.name);
const sizes = (model: Model, modules: Modules) =>
  partition(model, modules).modules.map((module) => module.blocks.length);
const stage = (index: number, list: number[]) => list.map((i) => `layer${index}.${i}`);

Deno.test("partition() cuts ResNet-32 as published", () => {
  assertEquals(boundaries(resnet32(), 8), [
    ...stage(1, [0, 2, 4]),
    ...stage(2, [1, 3]),
    ...stage(3, [0, 2]),
  ]);
  assertEquals(sizes(resnet32(), 16), new Array(15).fill(1));
  assertEquals(partition(resnet32(), 16).requested, 16);
  assertStringIncludes(partition(resnet32(), 16).description, "15 gradient-isolated modules");
  assertStringIncludes(partition(resnet32(), 8).description, "8 gradient-isolated modules");
});

Deno.test("partition() cuts ResNet-110 as published", () => {
  assertEquals(boundaries(resnet110(), 2), ["layer1.14"]);
  assertEquals(boundaries(resnet110(), 3), ["layer1.9", "layer2.2"]);
  assertEquals(boundaries(resnet110(), 4), ["layer1.6", "layer1.14", "layer2.8"]);
  const ends = partition(resnet110(), 32).modules.map((module) => module.blocks.at(-1)!.name);
  assertEquals(ends.length, 32);
  assertEquals([1, 2, 3].map((i) => ends.filter((name) => name.startsWith(`layer${i}.`)).length), [
    11,
    11,
    10,
  ]);
  assertEquals(new Set(sizes(resnet110(), 32)), new Set([1, 2]));
  assertEquals(sizes(resnet110(), 55), new Array(54).fill(1));
});

Deno.test("partition() gives exactly the number asked for, even by blocks, where none was published", () => {
  assertEquals(sizes(resnet20(), 4), [2, 2, 2, 3]);
  for (let count = 1; count <= 9; count++) {
    const even = sizes(resnet20(), count);
    assertEquals(even.length, count);
    assertEquals(Math.max(...even) - Math.min(...even) <= 1, true);
  }
  assertEquals(sizes(resnet32(), 15), new Array(15).fill(1));
  assertEquals(sizes({ ...resnet32(), name: "mine" }, 3), [5, 5, 5]);
});

Deno.test("partition() puts the stem in the first module and the head in the last", () => {
  const { modules } = partition(resnet8(), { after: ["layer1.0", "layer2.0"] });
  const tops = modules.map((module) => Object.keys(module.layer.params));
  assertEquals(tops, [["conv1", "bn1", "layer1"], ["layer2"], ["layer3", "fc"]]);
  const all = modules.flatMap((module) => treePaths(module.layer.params as never));
  assertEquals(all, treePaths(whole(resnet8()).modules[0].layer.params as never));
});

Deno.test("partition() takes a model of one's own", () => {
  const own: Model = {
    name: "own",
    input: { height: 8, width: 6, channels: 1 },
    classes: 4,
    stem: {},
    blocks: ["wide", "deep"].map((name, i) => ({ name, layer: conv({ in: 1 + i, out: 2 + i, padding: 1 }) })),
    head: { pool: globalAveragePooling(), fc: linear({ in: 3, out: 4 }) },
  };
  assertEquals(boundaries(own, 2), ["wide"]);
  assertThrows(
    () => partition({ ...own, blocks: [own.blocks[0], own.blocks[0]] }, 1),
    LocalgradError,
    '"wide"',
  );
  assertThrows(
    () => partition({ ...own, blocks: [{ ...own.blocks[0], name: "local.x" }] }, 1),
    LocalgradError,
    "auxiliary",
  );
  assertThrows(() => partition({ ...own, blocks: [] }, 1), LocalgradError, "no blocks");
});

Deno.test("partition() refuses what it cannot cut, saying what it can", () => {
  const refused: [Modules, string][] = [
    [16, "at most 9"],
    [0, "whole number"],
    [2.5, "whole number"],
    [NaN, "whole number"],
    [{ after: ["layer9.0"] }, "its blocks are layer1.0"],
    [{ after: ["layer3.2"] }, "last block"],
    [{ after: ["layer2.0", "layer1.1"] }, "order"],
    [{ after: ["layer1.1", "layer1.1"] }, "each once"],
    ["balanced" as never, "count or"],
    [{} as never, "count or"],
  ];
  for (const [modules, message] of refused) {
    assertThrows(() => partition(resnet20(), modules), LocalgradError, message);
  }
});
