import { assert, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { modelNamed, modelNames, network, resnet20, resnet32, resnet50, resnet8 } from "../models.ts";
import type { Initial } from "../nn/initial.ts";
import { shapeAfter } from "../nn/layer.ts";
import type { Named } from "../nn/named.ts";
import { sizeOf } from "../trace/dtype.ts";
import { treeLeaves, treePaths } from "../trace/tree.ts";

const parametersOf = (name: string) =>
  treeLeaves(network(modelNamed(name)).params as never)
    .reduce((sum: number, p) => sum + sizeOf(p["shape"]), 0);

/** Blocks and parameters. Those of networks for large images are torchvision's. */
const expected: { readonly [name: string]: readonly [blocks: number, parameters: number] } = {
  resnet8: [3, 78_042],
  resnet20: [9, 272_474],
  resnet32: [15, 466_906],
  resnet44: [21, 661_338],
  resnet56: [27, 855_770],
  resnet110: [54, 1_730_714],
  resnet18: [8, 11_689_512],
  resnet34: [16, 21_797_672],
  resnet50: [16, 25_557_032],
  resnet101: [33, 44_549_160],
  resnet152: [50, 60_192_808],
  resnext50_32x4d: [16, 25_028_904],
  resnext101_32x8d: [33, 88_791_336],
  vgg11: [8, 132_863_336],
  vgg13: [10, 133_047_848],
  vgg16: [13, 138_357_544],
  vgg19: [16, 143_667_240],
  vgg11_bn: [8, 132_868_840],
  vgg13_bn: [10, 133_053_736],
  vgg16_bn: [13, 138_365_992],
  vgg19_bn: [16, 143_678_248],
  mobilenetV2: [18, 3_504_872],
  densenet121: [62, 7_978_856],
  densenetBc100: [51, 769_162],
  convnextTiny: [21, 28_589_128],
  deeplabv3_resnet50: [16, 39_638_869],
  deeplabv3_resnet50_os16: [16, 39_638_869],
  deeplabv3_resnet101: [33, 58_630_997],
  deeplabv3_resnet101_os16: [33, 58_630_997],
  vitTiny: [12, 5_717_416],
  vitSmall: [12, 22_050_664],
  vitBase: [12, 86_567_656],
};

for (const name of modelNames) {
  Deno.test(`${name} has the published numbers of blocks and parameters`, () => {
    assertEquals([modelNamed(name).blocks.length, parametersOf(name)], expected[name]);
    assertEquals(modelNamed(name).name, name);
  });
}

Deno.test("all networks are available by name, in order, and others are refused", () => {
  assertEquals([...modelNames].sort(), Object.keys(expected).sort());
  const resnets = modelNames.filter((name) => name.startsWith("resnet"));
  assertEquals(resnets.slice(0, 3), ["resnet8", "resnet18", "resnet20"]);
  assertThrows(() => modelNamed("resnet34x"), LocalgradError, "resnet34x");
  assertThrows(() => modelNamed("resnet34x"), LocalgradError, "resnext101_32x8d");
});

Deno.test("networks name their parameters as torchvision does", () => {
  const small = treePaths(network(resnet8()).params);
  for (const path of ["conv1.weight", "bn1.bias", "layer1.0.conv2.weight", "fc.bias"]) {
    assert(small.includes(path), path);
  }
  for (const path of ["layer2.0.downsample.0.weight", "layer3.0.downsample.1.weight"]) {
    assert(small.includes(path), path);
  }
  assertEquals(small.some((path) => path.startsWith("layer1.0.downsample")), false);
  assert(treePaths(network(resnet8()).state).includes("layer2.0.downsample.1.running_var"));
  const normalised = network(modelNamed("vgg11_bn", { size: 32 }));
  for (const path of ["features.0.weight", "features.1.bias", "features.4.bias", "features.26.weight"]) {
    assert(treePaths(normalised.params).includes(path), path);
  }
  assert(treePaths(normalised.state).includes("features.26.running_var"));
  const large = treePaths(network(resnet50()).params);
  // The first block of the first stage projects too: it has four times the channels of the stem.
  for (const path of ["layer1.0.downsample.0.weight", "layer4.2.conv3.weight", "layer3.5.bn3.bias"]) {
    assert(large.includes(path), path);
  }
});

Deno.test("networks take images of any size and any number of classes", () => {
  assertEquals(shapeAfter(network(resnet8({ classes: 7 })), [32, 32, 3]), [7]);
  assertEquals(shapeAfter(network(resnet8()), [17, 9, 3]), [10]);
  assertEquals(resnet20({ size: 96 }).input, { height: 96, width: 96, channels: 3 });
  assertEquals(resnet50({ size: [64, 48] }).input, { height: 64, width: 48, channels: 3 });
  assertEquals(shapeAfter(network(resnet50({ classes: 5 })), [33, 64, 3]), [5]);
  // Stage by stage at the published size.
  const stem = Object.values(resnet50().stem).reduce(
    (shape, layer) => shapeAfter(layer, shape),
    [
      224,
      224,
      3,
    ] as readonly number[],
  );
  assertEquals(stem, [56, 56, 64]);
  let shape = stem;
  const stages = resnet50().blocks.flatMap(({ name, layer }) => {
    shape = shapeAfter(layer, shape);
    return ["layer1.2", "layer2.3", "layer3.5", "layer4.2"].includes(name) ? [shape] : [];
  });
  assertEquals(stages, [[56, 56, 256], [28, 28, 512], [14, 14, 1024], [7, 7, 2048]]);
});

Deno.test("networks refuse impossible classes and sizes", () => {
  assertThrows(() => resnet32({ classes: 0 }), LocalgradError, "resnet32: classes must be a whole number");
  assertThrows(() => resnet50({ size: 0 }), LocalgradError, "resnet50: size must be a whole number");
  assertThrows(() => resnet50({ size: [32, 1.5] }), LocalgradError, "1.5");
});

Deno.test("small images keep networks of tokens and of many halvings whole", () => {
  assertEquals(shapeAfter(network(modelNamed("vitTiny", { size: 32, classes: 7 })), [32, 32, 3]), [7]);
  const { encoder } = network(modelNamed("vitTiny", { size: 32 })).params;
  assertEquals((encoder as Named<Initial>)["pos_embedding"]!.shape, [1, 65, 192]);
  // Positions are of a size, so a rectangle of whole parts is one like any other.
  assertEquals(shapeAfter(network(modelNamed("vitTiny", { size: [32, 48], classes: 7 })), [32, 48, 3]), [7]);
  for (const size of [[32, 128], [128, 32]] as const) {
    assertEquals(shapeAfter(network(modelNamed("vgg11_bn", { size, classes: 7 })), [...size, 3]), [7]);
  }
  assertThrows(
    () => modelNamed("vitTiny", { size: 30 }),
    LocalgradError,
    "30×30 cannot be divided into parts of 4×4",
  );
  for (const name of ["vgg11", "vgg11_bn", "mobilenetV2", "densenet121", "convnextTiny"]) {
    assertEquals(shapeAfter(network(modelNamed(name, { size: 32, classes: 7 })), [32, 32, 3]), [7], name);
  }
});
