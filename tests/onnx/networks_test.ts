/** Networks as ONNX Runtime computes them, compared with this library's own logits. */

import { assert, assertEquals } from "@std/assert";
import { namedLeaves } from "../../src/artifacts/network_values.ts";
import type { Signature } from "../../src/data/signature.ts";
import * as models from "../../src/models.ts";
import { imageInput, type Model, network } from "../../src/models/model.ts";
import * as nn from "../../src/nn.ts";
import { exportOnnx, type OnnxOptions } from "../../src/onnx/onnx.ts";
import { open } from "../../src/runtime/devices.ts";
import { jit } from "../../src/runtime/jit.ts";
import { sizeOf } from "../../src/trace/dtype.ts";
import { adaptiveAveragePool } from "../../src/nn/pooling.ts";
import { concat, iota, literal, resizeBilinear, where } from "../../src/trace/functions.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { treeFlatten, treeUnflatten } from "../../src/trace/tree.ts";
import { units } from "../fixtures/formula.ts";
import { type Report, runModels, skipsRuntime } from "./runtime.ts";

const ignore = skipsRuntime();

function model(
  name: string,
  stem: nn.Layers,
  head: nn.Layers,
  size: [number, number, number] = [8, 8, 3],
): Model {
  const [height, width, channels] = size;
  return { name, input: { height, width, channels }, classes: 4, stem, blocks: [], head };
}

/** A perceptron after flattened images, with batch norms of vectors. */
function mlp(order: "channelsFirst" | "channelsLast"): Model {
  return model("mlp", {}, {
    flatten: nn.flatten({ order }),
    fc1: nn.linear({ in: 105, out: 16 }),
    bn: nn.batchNorm({ channels: 16 }),
    relu: nn.relu(),
    fc: nn.linear({ in: 16, out: 4, bias: false }),
  }, [5, 7, 3]);
}

/** Each way in which a network's own functions meet the number of images, axes in another order, and constants. */
const own = nn.stateless((x: Tensor) => {
  const [images = 0, height = 0, width = 0, channels = 0] = x.shape;
  const mirrored = concat([
    x,
    x.pad([0, 0, 1, 0], [0, 0, 1, 0], [0, 1, 0, 0]).slice([0, 0, 1, 0], [images, 15, 9, 3])
      .slice([0, 0, 0, 0], [images, 15, 8, 3], [1, 2, 1, 1]),
  ], 3);
  const tokens = mirrored.reshape(images, height * width, 2 * channels);
  const scores = tokens.matmul(tokens, { transposeB: true }).mul(0.05);
  const largest = scores.max(2, { keepDims: true });
  const weights = scores.sub(largest).exp();
  const attended = weights.div(weights.sum(2, { keepDims: true })).matmul(tokens);
  const heads = attended.reshape(images * 8, 8, 6).transpose(2, 0, 1).sigmoid().mean(2).transpose()
    .reshape(images, 8, 6);
  const place = iota([images, 8, 6], 1, "f32").add(iota([images, 8, 6], 0, "f32").mul(0));
  const table = literal([0.5, -1, 2, 0.25], [4]).broadcastTo([images, 4]).transpose();
  const chosen = table.gather(iota([3], 0, "i32"));
  const last = x.slice([0, 2, 0, 0], [images, 4, 8, 3]).reshape(images, -1);
  const small = resizeBilinear(adaptiveAveragePool(x, 3, 5), [4, 4]).reshape(images, -1);
  const both = where(place.gt(3), heads.mul(place), heads.neg()).reshape(images, -1);
  const rows = concat([both, last, small], 1);
  const mean = rows.mean(1, { keepDims: true });
  return concat([rows.sub(mean), chosen.transpose()], 1);
});

const networks: { readonly [name: string]: Model } = {
  resnet8: models.resnet8(),
  resnet20: models.resnet20(),
  resnet32: models.resnet32({ classes: 100 }),
  resnet18: models.resnet18({ classes: 7, size: 64 }),
  resnet50: models.resnet50({ classes: 7, size: 64 }),
  "mlp, channels first": mlp("channelsFirst"),
  "mlp, channels last": mlp("channelsLast"),
  "shared weights, biases, odd paddings": model("odd", {
    conv1: nn.conv({ in: 3, out: 6, window: [3, 5], padding: [[0, 2], [1, 1]], strides: [1, 2], bias: true }),
    bn1: nn.batchNorm({ channels: 6 }),
    pool: nn.maxPooling({ window: 2, strides: 1, padding: [[1, 0], [0, 1]] }),
    average: nn.averagePooling({ window: 3, padding: 1 }),
    conv2: nn.conv({ in: 6, out: 8, groups: 2, dilation: 2, padding: 2, bias: true }),
    before: nn.batchNorm({ channels: 8, epsilon: 1e-3 }),
  }, { relu: nn.relu(), pool2: nn.globalAveragePooling(), fc: nn.linear({ in: 8, out: 4 }) }),
  vgg11_bn: models.vgg11_bn({ classes: 4, size: 32 }),
  mobilenetV2: models.mobilenetV2({ classes: 4, size: 64 }),
  vitTiny: models.vitTiny({ classes: 4, size: 32 }),
  "layers of transformers and others": model("layers", {
    conv1: nn.conv({ in: 3, out: 8, strides: 2, padding: 1 }),
    norm: nn.groupNorm({ groups: 2, channels: 8 }),
    silu: nn.silu(),
    squeeze: nn.squeezeExcitation({ channels: 8, squeezed: 4 }),
    up: nn.convTranspose({ in: 8, out: 6, window: 4, strides: 2, padding: 1 }),
    tanh: nn.gelu({ approximate: "tanh" }),
    tokens: nn.stateless((x) => x.reshape(-1, 64, 6)),
    causal: nn.multiHeadAttention({ width: 6, heads: 2, causal: true, chunk: 24 }),
    dropout: nn.dropout({ rate: 0.1 }),
    block: nn.stochasticDepth({ layer: nn.transformerBlock({ width: 6, heads: 3, hidden: 10 }), rate: 0.1 }),
  }, { mean: nn.stateless((x) => x.mean(1)), relu6: nn.relu6(), fc: nn.linear({ in: 6, out: 4 }) }),
  "a segmentation": {
    ...model("dense", {
      conv: nn.conv({ in: 3, out: 8, strides: 2, padding: 1 }),
      pyramid: nn.atrousPyramid({ in: 8, out: 6, rates: [2, 5] }),
      logits: nn.conv({ in: 6, out: 4, window: 1, bias: true }),
    }, { upsampling: nn.upsampling({ size: 8 }) }),
    task: "segmentation",
  },
  "a user's own functions": model("own", { own }, { fc: nn.linear({ in: 147, out: 4 }) }),
};

const SIGNATURE: Signature = {
  classes: ["a", "b", "ü", "d"],
  height: 5,
  width: 7,
  channels: 3,
  mean: [0.5, 0.25, 0.4],
  std: [0.2, 0.3, 0.25],
  crop: 0.875,
};

/** Values by a formula; statistics such as those of a trained network. */
function valuesOf(model: Model): Map<string, HostArray> {
  const { params, state } = network(model);
  return new Map([...namedLeaves(params), ...namedLeaves(state)].map(([name, { shape }]) => {
    const fanIn = shape.length > 1 ? sizeOf(shape.slice(1)) : 1;
    const [scale, offset] = name.endsWith("running_var") || (shape.length === 1 && name.endsWith("weight"))
      ? [0.3, 1]
      : [shape.length > 1 ? Math.sqrt(3 / fanIn) : 0.2, 0];
    return [name, new HostArray(units(name, sizeOf(shape), scale, offset), shape)];
  }));
}

/** `[images, channels, height, width]` of an NHWC batch. */
function toNchw(data: Float32Array, [images, height, width, channels]: readonly number[]): Float32Array {
  const result = new Float32Array(data.length);
  let from = 0;
  for (let n = 0; n < images; n++) {
    for (let pixel = 0; pixel < height * width; pixel++) {
      for (let c = 0; c < channels; c++) result[(n * channels + c) * height * width + pixel] = data[from++];
    }
  }
  return result;
}

/** The largest difference of the logits from ours in batches of 1 and 5, relative to the largest of ours. */
async function compare(name: string, options: OnnxOptions[]): Promise<Report[]> {
  const model = networks[name];
  const { height, width, channels } = imageInput("the test", model);
  const tensors = valuesOf(model);
  const { params, state } = network(model);
  const leaf = (tree: nn.Named<nn.Initial>) => {
    const { paths, structure } = treeFlatten<nn.Initial>(tree);
    return treeUnflatten(structure, paths.map((path) => tensors.get(path)!)) as nn.Named<HostArray>;
  };
  await using device = await open("cpu", { engine: "wasm" });
  const net = network(model);
  const evaluate = jit(
    (p: nn.Named<Tensor>, s: nn.Named<Tensor>, x: Tensor) => net.apply(p, s, x, "evaluate").y,
    { device },
  );
  const batches = await Promise.all([1, 5].map(async (images) => {
    const shape = [images, height, width, channels];
    const x = units(`images ${images}`, sizeOf(shape), 2);
    using logits = evaluate(leaf(params), leaf(state), new HostArray(x, shape));
    return { shape, x, logits: await logits.read("f32") };
  }));
  const reports = await runModels(options.map((each) => ({
    model: exportOnnx(model, { tensors }, each),
    runs: batches.filter(({ shape }) => each.batch === undefined || shape[0] === each.batch).map(
      ({ shape, x }) => {
        const [images] = shape;
        const input = each.layout === "NHWC"
          ? { shape, data: x }
          : { shape: [images, channels, height, width], data: toNchw(x, shape) };
        return { images: input };
      },
    ),
  })));
  return reports.map((report, i) => {
    if (report instanceof Error) throw report;
    report.outputs.forEach(([{ shape, data }], run) => {
      const batch = options[i].batch === undefined
        ? batches[run]
        : batches.find((b) => b.shape[0] === options[i].batch)!;
      const { task, input, classes } = model;
      const outputs = task === "segmentation" && "height" in input ? [input.height, input.width] : [];
      assertEquals(shape, [batch.shape[0], ...outputs, classes]);
      const largest = batch.logits.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      assert(largest > 0.01 && Number.isFinite(largest), `${name}: logits up to ${largest}`);
      data.forEach((y, k) =>
        assert(
          Math.abs(y - batch.logits[k]) <= 1e-5 * Math.max(1, largest),
          `${name} ${JSON.stringify(options[i])}: logit ${k} is ${y}, ours ${batch.logits[k]}`,
        )
      );
    });
    return report;
  });
}

for (const name of Object.keys(networks)) {
  Deno.test(
    `ONNX Runtime gives the logits of ${name} to 1e-5, in batches of any size`,
    { ignore },
    async () => {
      const small = !/^(resnet[1-5]|vgg|mobilenet|vit)/.test(name);
      const [folded, kept] = await compare(name, [
        {},
        { foldBatchNorm: false },
        ...(small ? [{ layout: "NHWC" } as const, { batch: 5 }] : []),
      ]);
      const { height, width, channels } = imageInput("the test", networks[name]);
      assertEquals(folded.inputs, [["batch", channels, height, width]]);
      const layers = namedLeaves(network(networks[name]).state).filter(([path]) =>
        path.endsWith("running_var")
      );
      assertEquals(kept.ops.filter((op) => op === "BatchNormalization").length, layers.length);
      // After a convolution or a product, none is left.
      assertEquals(folded.ops.filter((op) => op === "BatchNormalization").length, 0);
      if (!name.startsWith("resnet")) return;
      for (const { ops } of [folded, kept]) {
        assert(!ops.includes("Transpose") && !ops.includes("Reshape"), String(ops));
      }
    },
  );
}

Deno.test("the parameters of an exported network keep their names, unless a batch norm is folded in", {
  ignore,
}, async () => {
  const model = networks["resnet8"];
  const tensors = valuesOf(model);
  const options = { foldBatchNorm: false, signature: { ...SIGNATURE, height: 32, width: 32 } };
  const [report] = await runModels([{ model: exportOnnx(model, { tensors }, options), runs: [] }]);
  if (report instanceof Error) throw report;
  assertEquals([...tensors.keys()].filter((name) => !report.initializers.includes(name)), []);
  assertEquals(report.metadata, {
    model: "resnet8",
    task: "classification",
    layout: "NCHW",
    class_names: '["a","b","ü","d"]',
    mean: "[0.5,0.25,0.4]",
    std: "[0.2,0.3,0.25]",
    crop: "0.875",
  });
});
