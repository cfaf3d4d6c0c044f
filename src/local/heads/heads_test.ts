import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { noise, run } from "../../../tests/run.ts";
import { LocalgradError } from "../../base/errors.ts";
import { key } from "../../base/random.ts";
import { type Initial, initialize } from "../../nn/initial.ts";
import { type Layer, sequential, shapeAfter } from "../../nn/layer.ts";
import type { Named } from "../../nn/named.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeLeaves, treePaths } from "../../trace/tree.ts";
import { classifier, decoder, dglHead } from "./heads.ts";
import { summarised } from "./tokens.ts";

const parameters = (layer: Layer) =>
  treeLeaves<Initial>(layer.params).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
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
  const paths = treePaths(dglHead("mlp-sr", [32, 32, 16], 10).params);
  assertEquals(paths.slice(0, 3), ["convs.0.conv.weight", "convs.0.bn.weight", "convs.0.bn.bias"]);
  assertEquals(paths.slice(-2), ["fc.weight", "fc.bias"]);
  const convs = 3 * (16 * 16 + 2 * 16);
  assertEquals(parameters(dglHead("mlp-sr", [32, 32, 16], 10)), convs + 3 * (64 * 64 + 2 * 64) + 650);
});

Deno.test("dglHead() has a batch norm after the pooling of its convolutional head, as in the published code", () => {
  const head = dglHead("cnn", [32, 32, 16], 10);
  const paths = treePaths(head.params);
  assertEquals(paths.slice(-4), ["bn.weight", "bn.bias", "fc.weight", "fc.bias"]);
  assertEquals(parameters(head), 2 * (9 * 16 * 16 + 2 * 16) + 2 * 16 + 4 * 16 * 10 + 10);
});

Deno.test("unknown heads are refused by name", () => {
  assertThrows(() => dglHead("conv" as never, [8, 8, 4], 10), LocalgradError, '"conv"');
  assertThrows(() => classifier("3c1f" as never, [8, 8, 4], 10), LocalgradError, '"3c1f"');
  assertThrows(() => classifier("1c0f" as never, [8, 8, 4], 10), LocalgradError, '"1c0f"');
});

Deno.test("heads refuse features that are not of an image, and name the head", () => {
  const image = { height: 32, width: 32, channels: 3 };
  const large = { height: 224, width: 224, channels: 3 };
  const refused: [string, () => unknown][] = [
    ["dglHead", () => dglHead("mlp", [1, 8, 8, 64], 10)],
    ["classifier", () => classifier("1c2f", [1, 8, 8, 64], 10)],
    ["decoder", () => decoder([1, 8, 8, 64], image)],
    ["imagenetDecoder", () => decoder([1, 8, 8, 64], large)],
  ];
  for (const [who, make] of refused) {
    assertThrows(make, LocalgradError, `${who}: needs features [height, width, channels], not [`);
  }
});

Deno.test("heads for vectors are fully connected, and those of images are refused", () => {
  for (const name of ["mlp", "mlp-sr", "mlp-sr-large"] as const) {
    assertEquals(shapeAfter(dglHead(name, [64], 10), [64]), [10]);
  }
  for (const name of ["0c1f", "0c2f"] as const) {
    assertEquals(shapeAfter(classifier(name, [64], 3), [64]), [3]);
  }
  assertThrows(() => dglHead("cnn", [64], 10), LocalgradError, 'head "cnn" is for images, not for vectors');
  assertThrows(() => classifier("1c2f", [64], 10), LocalgradError, 'choose "0c1f", "0c2f" or "0c3f"');
});

Deno.test("the larger head of MAN++ has the same width for all features", () => {
  const sizes = [[32, 32, 16], [16, 16, 32], [8, 8, 64]].map((shape) =>
    parameters(dglHead("mlp-sr-large", shape, 10))
  );
  const [convs, hidden] = [2 * 128 * 128 + 3 * 256, 128 * 512 + 2 * 512 * 512 + 3 * 1024];
  assertEquals(sizes, [16, 32, 64].map((channels) => 128 * channels + convs + hidden + 5130));
  assertEquals(shapeAfter(dglHead("mlp-sr-large", [5, 5, 4], 10), [5, 5, 4]), [10]);
});

Deno.test("heads for large images follow the features' shape", () => {
  const image = { height: 224, width: 224, channels: 3 };
  const filters = (layer: Layer) =>
    treePaths(layer.params).flatMap((path, i) =>
      /conv\.weight$|conv224\.weight$/.test(path)
        ? [treeLeaves<Initial>(layer.params)[i].shape.slice(0, 2).join("×")]
        : []
    );
  assertEquals(filters(decoder([14, 14, 1024], image)), ["192×1", "64×1", "32×3", "12×3", "3×3"]);
  assertEquals(filters(decoder([28, 28, 512], image)), ["128×1", "32×3", "12×3", "3×3"]);
  assertEquals(filters(classifier("imagenet", [14, 14, 1024], 1000)), ["256×1", "256×3", "512×3", "2048×1"]);
  assertEquals(filters(classifier("imagenet", [28, 28, 512], 1000))[0], "128×1");
  for (const shape of [[56, 56, 64], [56, 56, 256], [28, 28, 128], [7, 7, 2048], [5, 5, 8]]) {
    assertEquals(shapeAfter(decoder(shape, image), shape), [224, 224, 3]);
    assertEquals(shapeAfter(classifier("imagenet", shape, 1000), shape), [1000]);
  }
});

Deno.test("heads for tokens normalise each token and take their mean or the first; those of images are refused", () => {
  const features = [5, 8];
  for (const name of ["mlp", "mlp-sr", "mlp-sr-large"] as const) {
    assertEquals(shapeAfter(dglHead(name, features, 10), features), [10]);
  }
  assertEquals(shapeAfter(classifier("0c2f", features, 3), features), [3]);
  assertThrows(() => dglHead("cnn", features, 10), LocalgradError, "not for vectors or tokens");
  assertThrows(() => classifier("1c2f", features, 10), LocalgradError, "not for vectors or tokens");

  const h = noise("h", [2, 5, 8]);
  const vectors = (summary?: "mean" | "first") => {
    const layer = sequential(summarised(features, summary));
    return [
      ...run(
        (params: Named<Tensor>, h: Tensor) => layer.apply(params, {}, h, "train").y,
        initialize(layer.params, key(0)),
        h,
      )[""]!.data,
    ];
  };
  const normal = (image: number, token: number): number[] => {
    const row = [...h.data.subarray(8 * (5 * image + token), 8 * (5 * image + token + 1))];
    const mean = row.reduce((a, b) => a + b) / 8;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 8;
    return row.map((value) => (value - mean) / Math.sqrt(variance + 1e-6));
  };
  const firsts = [0, 1].flatMap((image) => normal(image, 0));
  vectors("first").forEach((value, i) => assertAlmostEquals(value, firsts[i]!, 1e-6));
  const means = [0, 1].flatMap((image) => {
    const tokens = [0, 1, 2, 3, 4].map((token) => normal(image, token));
    return tokens[0]!.map((_, i) => tokens.reduce((sum, token) => sum + token[i]!, 0) / 5);
  });
  vectors().forEach((value, i) => assertAlmostEquals(value, means[i]!, 1e-6));
});

Deno.test("the decoder gives an image of tokens in their places, and of vectors", () => {
  assertEquals(shapeAfter(decoder([17, 8], image), [17, 8]), [32, 32, 3]);
  assertEquals(shapeAfter(decoder([8], image), [8]), [32, 32, 3]);
  const large = { height: 224, width: 224, channels: 3 };
  assertEquals(shapeAfter(decoder([197, 16], large), [197, 16]), [224, 224, 3]);
  assertThrows(() => decoder([19, 8], image), LocalgradError, "19 tokens are no grid");
});
