import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../errors.ts";
import type { Initial } from "../nn/initial.ts";
import { type Layer, shapeAfter } from "../nn/layer.ts";
import { sizeOf } from "../trace/dtype.ts";
import { treeLeaves, treePaths } from "../trace/tree.ts";
import { classifier, decoder, dglHead } from "./heads.ts";

const parameters = (layer: Layer) =>
  treeLeaves<Initial>(layer.params as never).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
const image = { height: 32, width: 32, channels: 3 };

Deno.test("InfoPro's heads have the published numbers of parameters", () => {
  // Over the 14 boundaries of ResNet-32, K = 16: heads of 16, 32 and 64 channels, by the block that follows.
  const widths = [16, 16, 16, 16, 32, 32, 32, 32, 32, 64, 64, 64, 64, 64];
  const total = (head: (channels: number) => Layer) =>
    widths.reduce((sum, channels) => sum + parameters(head(channels)), 0);
  assertEquals(total((channels) => classifier("2c2f", [8, 8, channels], 10)), 821_644);
  assertEquals(total((channels) => classifier("1c2f", [8, 8, channels], 10)), 414_604);
  assertEquals(total((channels) => decoder([8, 8, channels], image)), 63_834);
});

Deno.test("heads give logits, and the decoder an image, whatever the size of the features", () => {
  for (const shape of [[32, 32, 16], [8, 8, 64], [7, 5, 4], [1, 1, 3]]) {
    for (const name of ["mlp-sr", "mlp", "cnn"] as const) {
      assertEquals(shapeAfter(dglHead(name, shape, 10), shape), [10]);
    }
    for (const name of ["0c1f", "1c1f", "1c2f", "2c2f", "2c3f"] as const) {
      assertEquals(shapeAfter(classifier(name, shape, 6), shape), [6]);
    }
    assertEquals(shapeAfter(decoder(shape, image), shape), [32, 32, 3]);
  }
});

Deno.test("dglHead() keeps the width of the features", () => {
  const paths = treePaths(dglHead("mlp-sr", [32, 32, 16], 10).params as never);
  assertEquals(paths.slice(0, 3), ["convs.0.conv.weight", "convs.0.bn.weight", "convs.0.bn.bias"]);
  assertEquals(paths.slice(-2), ["fc.weight", "fc.bias"]);
  const convs = 3 * (16 * 16 + 2 * 16);
  assertEquals(parameters(dglHead("mlp-sr", [32, 32, 16], 10)), convs + 3 * (64 * 64 + 2 * 64) + 650);
});

Deno.test("heads that do not exist are refused by name", () => {
  assertThrows(() => dglHead("conv" as never, [8, 8, 4], 10), LocalgradError, '"conv"');
  assertThrows(() => classifier("3c1f" as never, [8, 8, 4], 10), LocalgradError, '"3c1f"');
  assertThrows(() => classifier("1c0f" as never, [8, 8, 4], 10), LocalgradError, '"1c0f"');
});
