/** The ResNet-8 step in TensorFlow.js: `tfjs.ts <webgpu|cpu> <batch> [<warmup> <steps>]`, timed as `report` says. */

import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-webgpu";
import { report, resnet8Batch, resnet8Parameters } from "./common.ts";

const device = Deno.args[0]!;
const [batch, ...turn] = Deno.args.slice(1).map(Number) as [number, ...number[]];

if (!await tf.setBackend(device)) throw new Error(`TensorFlow.js has no ${device} here`);
await tf.ready();

const values = new Map(resnet8Parameters().map((parameter) => [parameter.name, parameter]));

function conv(name: string, x: tf.SymbolicTensor, filters: number, kernelSize: number, strides: number) {
  const { oihw, values: flat } = values.get(name)!;
  const hwio = tf.tidy(() => tf.transpose(tf.tensor(flat, [...oihw]), [2, 3, 1, 0]));
  const layer = tf.layers.conv2d({ filters, kernelSize, strides, padding: "same", useBias: false });
  const y = layer.apply(x) as tf.SymbolicTensor;
  layer.setWeights([hwio]);
  hwio.dispose();
  return y;
}

const norm = (x: tf.SymbolicTensor) =>
  tf.layers.batchNormalization({ epsilon: 1e-5, momentum: 0.9 }).apply(x) as tf.SymbolicTensor;
const relu = (x: tf.SymbolicTensor) => tf.layers.reLU().apply(x) as tf.SymbolicTensor;

function block(name: string, x: tf.SymbolicTensor, filters: number, stride: number): tf.SymbolicTensor {
  let y = relu(norm(conv(`${name}.conv1.weight`, x, filters, 3, stride)));
  y = norm(conv(`${name}.conv2.weight`, y, filters, 3, 1));
  const shortcut = stride === 1 ? x : norm(conv(`${name}.downsample.0.weight`, x, filters, 1, stride));
  return relu(tf.layers.add().apply([y, shortcut]) as tf.SymbolicTensor);
}

const input = tf.input({ shape: [32, 32, 3] });
let h = relu(norm(conv("conv1.weight", input, 16, 3, 1)));
h = block("layer1.0", h, 16, 1);
h = block("layer2.0", h, 32, 2);
h = block("layer3.0", h, 64, 2);
const pooled = tf.layers.globalAveragePooling2d({}).apply(h) as tf.SymbolicTensor;
const fc = tf.layers.dense({ units: 10 });
const model = tf.model({ inputs: input, outputs: fc.apply(pooled) as tf.SymbolicTensor });
fc.setWeights([
  tf.transpose(tf.tensor(values.get("fc.weight")!.values, [10, 64])),
  tf.tensor(values.get("fc.bias")!.values),
]);
model.compile({
  optimizer: tf.train.momentum(0.1, 0.9),
  loss: (labels: tf.Tensor, logits: tf.Tensor) => tf.losses.softmaxCrossEntropy(labels, logits),
});

const { images, labels } = resnet8Batch(batch);
const x = tf.tensor(images, [batch, 32, 32, 3]);
const y = tf.oneHot(tf.tensor(labels, [batch], "int32"), 10);

await report(`tfjs 4.22.0, ${device}`, turn, async () => Number(await model.trainOnBatch(x, y)));
Deno.exit(0);
