/**
 * The ResNet-8 step in jax-js: `jax.ts <wasm|webgpu> <batch> [<warmup> <steps>]`, timed as `report` says.
 * The whole step is under `jit`; an array passed to a function is consumed, `.ref` keeps it.
 */

import {
  type Array as JaxArray,
  blockUntilReady,
  defaultDevice,
  init,
  jit,
  lax,
  nn,
  numpy as np,
  tree,
  valueAndGrad,
} from "@jax-js/jax";
import { report, resnet8Batch, resnet8Parameters } from "./common.ts";

const device = Deno.args[0] as "wasm" | "webgpu";
const [batch, ...turn] = Deno.args.slice(1).map(Number) as [number, ...number[]];

type Params = { [name: string]: JaxArray };

function conv(p: Params, name: string, x: JaxArray, stride: number): JaxArray {
  const w = p[name]!.ref;
  const pad = w.shape[2] === 3 ? 1 : 0;
  return lax.convGeneralDilated(x, w, [stride, stride], [[pad, pad], [pad, pad]]);
}

function batchNorm(p: Params, name: string, x: JaxArray): JaxArray {
  const axes = [0, 2, 3];
  const channels = [1, x.shape[1]!, 1, 1];
  const centred = x.ref.sub(np.mean(x, axes, { keepdims: true }));
  const variance = np.mean(np.square(centred.ref), axes, { keepdims: true });
  const scale = p[`${name}.weight`]!.ref.reshape(channels).div(np.sqrt(variance.add(1e-5)));
  return centred.mul(scale).add(p[`${name}.bias`]!.ref.reshape(channels));
}

function block(p: Params, name: string, x: JaxArray, stride: number, projected: boolean): JaxArray {
  let y = nn.relu(batchNorm(p, `${name}.bn1`, conv(p, `${name}.conv1.weight`, x.ref, stride)));
  y = batchNorm(p, `${name}.bn2`, conv(p, `${name}.conv2.weight`, y, 1));
  const shortcut = projected
    ? batchNorm(p, `${name}.downsample.1`, conv(p, `${name}.downsample.0.weight`, x, stride))
    : x;
  return nn.relu(y.add(shortcut));
}

function lossOf(p: Params, x: JaxArray, oneHot: JaxArray): JaxArray {
  let h = nn.relu(batchNorm(p, "bn1", conv(p, "conv1.weight", x, 1)));
  h = block(p, "layer1.0", h, 1, false);
  h = block(p, "layer2.0", h, 2, true);
  h = block(p, "layer3.0", h, 2, true);
  const logits = np.matmul(np.mean(h, [2, 3]), np.transpose(p["fc.weight"]!.ref)).add(p["fc.bias"]!.ref);
  for (const array of Object.values(p)) array.dispose();
  return np.mean(np.sum(nn.logSoftmax(logits, -1).mul(oneHot), -1)).neg();
}

const step = jit((p: Params, velocity: Params, x: JaxArray, oneHot: JaxArray) => {
  const [loss, grads] = valueAndGrad(lossOf)(tree.ref(p) as Params, x, oneHot);
  const v: Params = {}, moved: Params = {};
  for (const name of Object.keys(p)) {
    v[name] = velocity[name]!.mul(0.9).add((grads as Params)[name]!);
    moved[name] = p[name]!.sub(v[name]!.ref.mul(0.1));
  }
  return [moved, v, loss] as [Params, Params, JaxArray];
});

const available = await init();
if (!available.includes(device)) throw new Error(`jax-js has no ${device} here`);
defaultDevice(device);

let p: Params = {}, v: Params = {};
for (const { name, oihw, values } of resnet8Parameters()) {
  p[name] = np.array(values).reshape([...oihw]);
  v[name] = np.zeros([...oihw]);
}
const { images, labels } = resnet8Batch(batch);
const x = np.transpose(np.array(images).reshape([batch, 32, 32, 3]), [0, 3, 1, 2]);
const oneHot = nn.oneHot(np.array(labels), 10);

await report(`jax-js 0.1.25, ${device}`, turn, async () => {
  let loss: JaxArray;
  [p, v, loss] = step(p, v, x.ref, oneHot.ref);
  await blockUntilReady(p);
  return (await loss.data())[0]!;
});
Deno.exit(0); // its workers would keep the process alive
