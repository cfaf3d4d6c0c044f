/**
 * One measurement of localgrad, as one line of JSON (`Timing` of peers/common.ts):
 *
 *     ours.ts resnet8 <device> <batch> <warmup> <steps>   the ResNet-8 step, SGD with momentum
 *     ours.ts man <device> <batch> <warmup> <steps>       a step of man+dgl, ResNet-32, K = 16
 *     ours.ts compile <device> <batch> <warmup> <steps>   trace, plan and kernel text of man+dgl, ResNet-110, K = 55
 */

import {
  type Device,
  devices,
  type HostArray,
  HostArray as Host,
  jit,
  local,
  models,
  optim,
  type Tensor,
} from "../mod.ts";
import { batch as formulaBatch, normalise, startingValues } from "../tests/fixtures/formula.ts";
import { report, resnet8Batch, resnet8Parameters } from "./peers/common.ts";

const [what, deviceName] = Deno.args as [string, devices.BackendName | "cpu-onednn"];
const [batch, warmup, steps] = Deno.args.slice(2).map(Number) as [number, number, number];

/** Replaces the drawn starting values, by name. */
async function start(t: local.Trainer, values: ReadonlyMap<string, HostArray>): Promise<void> {
  const snapshot = await t.snapshot();
  const tensors = new Map([...snapshot.tensors].map(([name, drawn]) => [name, values.get(name) ?? drawn]));
  t.restore({ ...snapshot, tensors });
}

/** The named device; `cpu-onednn` is the CPU with oneDNN, and `cpu` without. */
function openDevice(): Promise<Device> {
  return deviceName === "cpu-onednn"
    ? devices.open("cpu", { engine: "onednn" })
    : devices.open(deviceName, { engine: "wasm" });
}

async function resnet8(): Promise<void> {
  await using device = await openDevice();
  using t = await local.trainer({
    device,
    model: models.resnet8({ classes: 10 }),
    method: local.endToEnd(),
    optimizer: optim.sgd({ momentum: 0.9 }),
    batch,
  });
  await start(t, new Map(resnet8Parameters().map(({ name, oihw, values }) => [name, toKrsc(values, oihw)])));
  const { images, labels } = resnet8Batch(batch);
  const x = device.array(images, [batch, 32, 32, 3]);
  await report(`localgrad, ${deviceName}`, warmup, steps, async () => {
    return (await t.step({ x, labels }, { learningRate: 0.1 })).losses[0]!;
  });
}

/** The learnable bias, the heads and the network start as in the parity fixtures, and the average as a copy. */
async function man(): Promise<void> {
  await using device = await openDevice();
  using t = await local.trainer({
    device,
    model: models.resnet32({ classes: 10 }),
    modules: 16,
    method: local.man(local.dgl()),
    optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    batch,
  });
  const { tensors } = await t.snapshot();
  const trained = [...tensors].filter(([name]) => /^(?!optimizer).*(weight|bias)$/.test(name));
  const values = startingValues(new Map(trained.map(([name, { shape }]) => [name, shape])));
  await start(
    t,
    new Map(trained.map(([name, { shape }]) => [name, new Host(values.get(tracked(name))!, shape)])),
  );
  const { bytes, labels } = formulaBatch(0, batch);
  const x = device.array(normalise(bytes), [batch, 32, 32, 3]);
  await report(`localgrad, ${deviceName}`, warmup, steps, async () => {
    return (await t.step({ x, labels }, { learningRate: 0.01 })).losses.at(-1)!;
  });
}

function tracked(name: string): string {
  return name.replace(/^local\.(\d+)\.ema\./, (_, boundary) => {
    const block = Number(boundary) + 1;
    return `layer${Math.floor(block / 5) + 1}.${block % 5}.`;
  });
}

async function compile(): Promise<void> {
  await using device = await openDevice();
  await report(`localgrad, ${deviceName}`, warmup, steps, () => {
    const setup = local.setup({
      model: models.resnet110({ classes: 10 }),
      modules: 55,
      method: local.man(local.dgl()),
      optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    });
    const step = jit(
      (train: local.TrainState<Tensor>, batch: local.Batch, scalars: { learningRate: Tensor }) =>
        local.trainStep(setup, train, batch, scalars),
      { name: "man+dgl", donate: [0] },
    );
    const image = { shape: [batch, 32, 32, 3], dtype: "f32" } as const;
    const labels = { shape: [batch], dtype: "i32" } as const;
    const scalar = { shape: [], dtype: "f32" } as const;
    const target = { ...device.backend.target, maxTotalBytes: Infinity };
    const plan = step.plan(target, setup.initial as never, { x: image, labels, images: image }, {
      learningRate: scalar,
    });
    return Promise.resolve(device.backend.kernelText!(plan).length);
  });
}

function toKrsc(values: Float32Array<ArrayBuffer>, shape: readonly number[]): HostArray {
  if (shape.length !== 4) return new Host(values, shape);
  const [out, inner, height, width] = shape as [number, number, number, number];
  const pixels = height * width;
  const result = new Float32Array(values.length);
  for (let o = 0; o < out; o++) {
    for (let i = 0; i < inner; i++) {
      for (let p = 0; p < pixels; p++) {
        result[(o * pixels + p) * inner + i] = values[(o * inner + i) * pixels + p]!;
      }
    }
  }
  return new Host(result, [out, height, width, inner]);
}

await ({ resnet8, man, compile } as { [what: string]: () => Promise<void> })[what]!();
