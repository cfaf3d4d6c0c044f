/**
 * What TensorFlow.js and jax-js compute on the calls of docs/differences.md: writes their part of
 * tests/fixtures/differences.json, as tests/fixtures/differences.py does for the others.
 *
 *     cd bench/peers && deno run --allow-read --allow-write=../../tests/fixtures --allow-env differences.ts
 */

import { defaultDevice, grad, init, lax, nn, numpy as np } from "@jax-js/jax";
import * as tf from "@tensorflow/tfjs";

type Value = number | string | boolean | readonly Value[];
type Rows = { readonly [row: string]: () => unknown };

const path = new URL("../../tests/fixtures/differences.json", import.meta.url);

/** A value as JSON has it, rounded to 4 digits; NaN and infinities as text. */
function plain(value: unknown): Value {
  if (typeof value === "number") {
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    return Number(value.toPrecision(4));
  }
  if (typeof value === "boolean" || typeof value === "string") return value;
  return Array.from(value as ArrayLike<unknown>, plain);
}

await tf.setBackend("cpu");
await init();
defaultDevice("wasm");

const values = (x: tf.Tensor) => x.arraySync();
const vector = tf.tensor1d([1, NaN, 2]);
const gradient = (f: (x: tf.Tensor) => tf.Tensor, x: number[]) =>
  values(tf.grad((x: tf.Tensor) => f(x).sum())(tf.tensor1d(x)));

function batchNorm(): unknown {
  const layer = tf.layers.batchNormalization({ inputShape: [1] });
  layer.apply(tf.tensor2d([[0], [4]]), { training: true });
  return layer.getWeights().slice(2).map((weights: tf.Tensor) => weights.dataSync()[0]);
}

/** A parameter after steps with the gradient 1 at the given rates. */
function steps(nesterov: boolean, rates: number[], gradient = 1): unknown {
  const p = tf.variable(tf.scalar(0));
  const optimizer = tf.train.momentum(1, 0.9, nesterov);
  for (const rate of rates) {
    optimizer.setLearningRate(rate);
    optimizer.minimize(() => p.mul(gradient).sum() as tf.Scalar, false, [p]);
  }
  return p.dataSync()[0];
}

function tinyAdam(): unknown {
  const p = tf.variable(tf.scalar(0));
  tf.train.adam(1).minimize(() => p.mul(1e-8).sum() as tf.Scalar, false, [p]);
  return p.dataSync()[0];
}

/** 512 times 9,999 and 10,001: their mean is 10,000, their deviation 1. */
const shifted = Array.from({ length: 1024 }, (_, i) => i % 2 === 0 ? 9999 : 10001);

function layerNorm(): unknown {
  const layer = tf.layers.layerNormalization({ axis: -1 });
  return (layer.apply(tf.tensor2d([shifted])) as tf.Tensor).dataSync()[1];
}

const image = (x: number[]) => tf.tensor4d(x, [1, 1, x.length, 1]);
const pool = (x: tf.Tensor) => tf.maxPool(x.reshape([1, 1, x.size, 1]) as tf.Tensor4D, [1, x.size], 1, "valid");

const tfjs: Rows = {
  "batchNorm.running": batchNorm,
  "batchNorm.epsilon": () => (tf.layers.batchNormalization().getConfig()["epsilon"]),
  "sgd.momentum": () => steps(false, [1, 0.1]),
  "sgd.nesterov": () => steps(true, [1, 0.1]),
  "adam.tiny": tinyAdam,
  "layerNorm.epsilon": () => tf.layers.layerNormalization().getConfig()["epsilon"],
  "layerNorm.shifted": layerNorm,
  "nan.dropout": () => tf.dropout(tf.fill([64], NaN), 0.5).dataSync().every(Number.isNaN) ? NaN : 0,
  "gradient.max": () => gradient((x) => x.max(), [1, 1]),
  "gradient.maximum": () =>
    tf.grads((a: tf.Tensor, b: tf.Tensor) => tf.maximum(a, b).sum())([tf.tensor1d([1]), tf.tensor1d([1])])
      .map(values),
  "gradient.clamp": () => gradient((x) => x.clipByValue(-1, 1), [-1, 0.5, 1]),
  "gradient.abs": () => gradient((x) => x.abs(), [0]),
  "gradient.relu": () => gradient((x) => x.relu(), [0]),
  "gradient.maxPool": () => gradient(pool, [1, 1]),
  "oneHot": () => values(tf.oneHot(tf.tensor1d([-1, 2], "int32"), 2)),
  "resize.smaller": () => values(tf.image.resizeBilinear(image([0, 1, 2, 3]), [1, 2]).flatten()),
  "resize.larger": () => values(tf.image.resizeBilinear(image([0, 1]), [1, 4]).flatten()),
  "integer.byZero": () => tf.tensor1d([1], "int32").div(tf.tensor1d([0], "int32")).dataSync()[0],
  "integer.negative": () => tf.tensor1d([-7], "int32").div(tf.tensor1d([2], "int32")).dataSync()[0],
  "nan.argmax": () => vector.argMax().dataSync()[0],
  "nan.max": () => vector.max().dataSync()[0],
  "nan.maxPool": () => pool(vector).dataSync()[0],
  "nan.relu": () => vector.relu().dataSync()[1],
};

// An array that is passed to a function is consumed.
const array = (x: number[]) => np.array(x, { dtype: np.float32 });
const integers = (x: number[]) => np.array(x, { dtype: np.int32 });
const missing = () => array([1, NaN, 2]);
// deno-lint-ignore no-explicit-any
const slope = (f: (x: any) => any, x: number[]) => grad((x: any) => np.sum(f(x)))(array(x)).js();

const jaxjs: Rows = {
  "layerNorm.epsilon": () => (1e-6 / nn.standardize(array([-1e-6, 1e-6])).js()[1]) ** 2,
  "layerNorm.shifted": () => nn.standardize(array(shifted)).js()[1],
  "gelu": () => nn.gelu(array([-Infinity]), { approximate: false }).js()[0],
  "gradient.max": () => slope((x) => np.max(x), [1, 1]),
  "gradient.maximum": () => [
    slope((x) => np.maximum(x, array([1])), [1]),
    slope((x) => np.maximum(array([1]), x), [1]),
  ],
  "gradient.clamp": () => slope((x) => np.clip(x, -1, 1), [-1, 0.5, 1]),
  "gradient.abs": () => slope((x) => np.abs(x), [0]),
  "gradient.relu": () => slope((x) => nn.relu(x), [0]),
  "gradient.maxPool": () => slope((x) => lax.reduceWindow(x, np.max, [2]), [1, 1]),
  "oneHot": () => nn.oneHot(integers([-1, 2]), 2).js(),
  "integer.byZero": () => np.floorDivide(integers([1]), integers([0])).js()[0],
  "integer.negative": () => np.floorDivide(integers([-7]), integers([2])).js()[0],
  "nan.argmax": () => np.argmax(missing()).js(),
  "nan.max": () => np.max(missing()).js(),
  "nan.maxPool": () => lax.reduceWindow(missing(), np.max, [3]).js()[0],
  "nan.relu": () => nn.relu(missing()).js()[1],
};

const { default: { imports } } = await import("./deno.json", { with: { type: "json" } });
const stored = JSON.parse(Deno.readTextFileSync(path));
for (const [library, rows, name] of [["tfjs", tfjs, "@tensorflow/tfjs"], ["jaxjs", jaxjs, "@jax-js/jax"]] as const) {
  stored.versions[library] = { [name]: imports[name].split("@").at(-1) };
  for (const [row, value] of Object.entries(rows)) {
    let result: Value = "error";
    try {
      result = plain(value());
    } catch (error) { // a library's refusal is its value here
      console.error(`${library} ${row}: ${String(error).slice(0, 160)}`);
    }
    (stored.rows[row] ??= {})[library] = result;
  }
}
Deno.writeTextFileSync(path, JSON.stringify(stored) + "\n");
