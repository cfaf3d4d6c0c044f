import { assertEquals } from "@std/assert";
import { shapeAfter } from "../nn/layer.ts";
import { sizeOf } from "../trace/dtype.ts";
import { treeLeaves, treePaths } from "../trace/tree.ts";
import { type Model, network } from "./model.ts";
import { resnet110, resnet20, resnet32, resnet44, resnet56, resnet8 } from "./resnet.ts";

const parameters = (model: Model) =>
  treeLeaves(network(model).params as never).reduce(
    (sum: number, p) => sum + sizeOf((p as never)["shape"]),
    0,
  );

Deno.test("ResNets have the published numbers of blocks and parameters", () => {
  const made = [resnet8(), resnet20(), resnet32(), resnet44(), resnet56(), resnet110()];
  assertEquals(made.map((model) => model.blocks.length), [3, 9, 15, 21, 27, 54]);
  assertEquals(made.map((model) => model.name), [8, 20, 32, 44, 56, 110].map((depth) => `resnet${depth}`));
  assertEquals(parameters(resnet32()), 466_906);
  assertEquals(parameters(resnet110()), 1_730_714);
  // The projections add what identity shortcuts lack: 16·32 + 32·64 weights and two batch norms.
  assertEquals(parameters(resnet20()), 269_722 + 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64);
});

Deno.test("ResNets name their parameters as PyTorch does", () => {
  const net = network(resnet8({ classes: 7 }));
  const paths = treePaths(net.params as never);
  for (
    const path of [
      "conv1.weight",
      "bn1.bias",
      "layer1.0.conv2.weight",
      "layer2.0.downsample.0.weight",
      "layer3.0.downsample.1.weight",
      "fc.bias",
    ]
  ) assertEquals(paths.includes(path), true, path);
  assertEquals(treePaths(net.state as never).includes("layer2.0.downsample.1.running_var"), true);
  assertEquals(shapeAfter(net, [32, 32, 3]), [7]);
  assertEquals(shapeAfter(net, [17, 9, 3]), [7]);
});
