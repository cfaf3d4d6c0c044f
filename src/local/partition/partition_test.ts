import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import {
  densenet121,
  densenetBc100,
  resnet101,
  resnet110,
  resnet152,
  resnet20,
  resnet32,
  resnet34,
  resnet8,
  resnext101_32x8d,
  vgg11,
  vgg11_bn,
  vgg16,
  vgg16_bn,
} from "../../models.ts";
import type { Model } from "../../models/model.ts";
import { conv } from "../../nn/conv.ts";
import { linear } from "../../nn/linear.ts";
import { globalAveragePooling } from "../../nn/pooling.ts";
import { treePaths } from "../../trace/tree.ts";
import { type Modules, partition, whole } from "./partition.ts";
import { publishedSplit, splitNames } from "./published.ts";

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

Deno.test("partition() cuts as in the given publication, or in the first that has K", () => {
  const cut = (model: Model, published: string, modules: number) =>
    boundaries(model, { published: published as never, modules });
  assertEquals(cut(resnet110(), "infopro", 2), ["layer2.8"]);
  assertEquals(cut(resnet110(), "infopro*", 2), ["layer1.14"]);
  assertEquals(boundaries(resnet110({ size: 96 }), 3), ["layer1.8", "layer2.1"]);
  assertEquals(boundaries(resnet110({ size: 96 }), 4), boundaries(resnet110(), 4));
  for (const model of [resnet101(), resnext101_32x8d()]) {
    assertEquals(boundaries(model, 2), ["layer2.0"]);
    assertEquals(boundaries(model, 4), stage(3, [0, 9, 17]));
    assertEquals(cut(model, "man", 4), stage(3, [0, 9, 17]));
    assertEquals(cut(model, "man++", 4), ["layer2.2", "layer3.8", "layer3.16"]);
  }
  assertEquals(boundaries(resnet152(), 2), ["layer2.5"]);
  assertEquals(cut(resnet152(), "man++", 4), ["layer2.6", "layer3.13", "layer3.25"]);
  assertEquals(cut(resnext101_32x8d(), "infopro*", 2), ["layer2.2"]);
  assertEquals(cut(resnet34(), "man", 4), ["layer2.0", "layer3.0", "layer3.5"]);
  assertStringIncludes(partition(resnet101(), { published: "man++", modules: 4 }).description, "man++");
});

Deno.test("every published split cuts its network", () => {
  const networks = [resnet32(), resnet110(), resnet110({ size: 96 }), resnet34(), resnet101(), resnet152()];
  let cuts = 0;
  for (const model of [...networks, resnext101_32x8d()]) {
    for (const published of splitNames) {
      for (let modules = 2; modules <= 55; modules++) {
        if (publishedSplit(model, modules, published) === undefined) continue;
        const partitioned = partition(model, { published, modules });
        assertEquals(partitioned.requested, modules);
        assertEquals(
          modules - partitioned.modules.length,
          modules === 16 && model.name === "resnet32" || modules === 55 ? 1 : 0,
        );
        cuts++;
      }
    }
  }
  assertEquals(cuts > 50, true);
});

Deno.test("InfoPro's rule cuts DenseNets and VGGs into modules of as many layers", () => {
  const dense = (stage: number, layer: number) => `features.denseblock${stage}.denselayer${layer}`;
  const infopro = (model: Model, modules: number) => partition(model, { published: "infopro", modules });
  const after = (model: Model, modules: number) => boundaries(model, { published: "infopro", modules });
  const bc = densenetBc100();
  assertEquals(after(bc, 2), [dense(2, 8)]);
  assertEquals(after(bc, 3), ["features.transition1", "features.transition2"]); // with the layers before them
  assertEquals(after(bc, 4), [dense(1, 12), dense(2, 8), dense(3, 4)]);
  const layersOf = (model: Model, modules: number, layer: RegExp) =>
    infopro(model, modules).modules.map(({ blocks }) => blocks.filter(({ name }) => layer.test(name)).length);
  for (const modules of [2, 3, 4, 8, 16, 48]) {
    assertEquals(layersOf(bc, modules, /denselayer/), new Array(modules).fill(48 / modules));
  }
  assertEquals(layersOf(densenet121(), 4, /denselayer/), [14, 15, 14, 15]);
  assertEquals(layersOf(vgg16(), 4, /features/), [3, 3, 3, 4]);
  assertEquals(after(vgg11({ size: 32 }), 2), ["features.8"]); // the fourth convolution
  assertEquals(after(vgg11_bn({ size: 32 }), 2), ["features.11+12"]); // with its batch norm
  assertEquals(layersOf(vgg16_bn(), 4, /features/), [3, 3, 3, 4]);
  assertStringIncludes(
    infopro(bc, 4).description,
    "even by layers, infopro's rule; no split of densenetBc100 is published",
  );
  assertStringIncludes(partition(bc, 4).how, "even by blocks"); // a number alone is as before
  for (const modules of [1, 9, 2.5]) {
    assertThrows(() => infopro(vgg11(), modules), LocalgradError, "there are infopro K = 2 to 8");
  }
  assertThrows(() => partition(bc, { published: "man", modules: 2 }), LocalgradError, "infopro K = 2 to 48");
});

Deno.test("partition() gives exactly the requested number, even by blocks, where no split was published", () => {
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
  const all = modules.flatMap((module) => treePaths(module.layer.params));
  assertEquals(all, treePaths(whole(resnet8()).modules[0].layer.params));
});

Deno.test("partition() takes any model", () => {
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

Deno.test("partition() refuses impossible cuts, and lists the possible ones", () => {
  const refused: [Modules, string][] = [
    [16, "at most 9"],
    [0, "whole number"],
    [2.5, "whole number"],
    [NaN, "whole number"],
    [{ after: ["layer9.0"] }, "its blocks are layer1.0"],
    [{ after: ["layer3.2"] }, "last block"],
    [{ after: ["layer2.0", "layer1.1"] }, "order"],
    [{ after: ["layer1.1", "layer1.1"] }, "each once"],
    ["balanced" as never, "modules is a count"],
    [{ after: ["layer1.0"], count: 2 } as never, 'partition: modules has no option "count"; it has after'],
    [{ published: "man", modules: 2, by: 1 } as never, 'partition: modules has no option "by"'],
    [{ after: [], balanced: 2 } as never, 'partition: modules has no option "balanced"'],
    [{} as never, "modules is a count"],
    [{ published: "man", modules: 4 }, "man published no split of resnet20 for K = 4; resnet20 has none"],
    [{ published: "mane" as never, modules: 4 }, "choose one of man, man++, infopro, infopro*"],
  ];
  for (const [modules, message] of refused) {
    assertThrows(() => partition(resnet20(), modules), LocalgradError, message);
  }
  assertThrows(
    () => partition(resnet101(), { published: "infopro*", modules: 4 }),
    LocalgradError,
    "infopro* published no split of resnet101 for K = 4; there are man K = 2, 4; man++ K = 2, 4; infopro* K = 2",
  );
});
