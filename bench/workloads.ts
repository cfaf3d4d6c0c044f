/**
 * What is measured of localgrad. Each workload is prepared on a device and then taken step by step; a step resolves once
 * it is done, to a number that the same workload of PyTorch gives too (`peers/pytorch.py`).
 */

import { type Device, devices, HostArray, jit, local, models, optim, type Tensor } from "../mod.ts";
import { hash, startingValues, units } from "../tests/fixtures/formula.ts";
import { resnet8Batch, resnet8Parameters } from "./peers/common.ts";

/** The named device; `cpu-onednn` is the CPU with oneDNN, as is `cpu-bf16`, and `cpu` without. */
export function openDevice(name: string): Promise<Device> {
  return name === "cpu-onednn" || name === "cpu-bf16"
    ? devices.open("cpu", { engine: "onednn" })
    : devices.open(name as devices.BackendName, { engine: "wasm" });
}

/** The precision of a step on the named device, as an option of a trainer. */
export const precisionOf = (name: string): Precise => name === "cpu-bf16" ? { precision: "bf16" } : {};

type Precise = Pick<local.TrainerOptions, "precision">;

/** A step of a prepared workload. */
export type WorkloadStep = () => Promise<number>;

/** Low, so that the losses of large networks, which start with large weights, stay comparable. */
export const LEARNING_RATE = 0.001;

/** The workloads by name, each for a device, a batch and, in training, a precision. The device owns what they allocate. */
export const workloads: {
  readonly [name: string]: (device: Device, batch: number, precision: Precise) => Promise<WorkloadStep>;
} = {
  resnet8,
  man: (device, batch, precision) =>
    training(device, batch, { network: "resnet32", method: "man+dgl", modules: 16, ...precision }),
  resnet50: (device, batch, precision) =>
    training(device, batch, { network: "resnet50", size: 64, ...precision }),
  resnet18: (device, batch, precision) =>
    training(device, batch, { network: "resnet18", size: 224, ...precision }),
  vit: (device, batch, precision) => training(device, batch, { network: "vitTiny", ...precision }),
  inference: (device, batch) => inference(device, batch, { network: "resnet18", size: 224 }),
  compile,
};

interface Spec extends Precise {
  readonly network: string;
  /** Height and width of the images, where they are not 32×32 in ten classes but large, in a thousand. */
  readonly size?: number;
  readonly method?: local.MethodName;
  readonly modules?: number;
}

/** A trainer that starts with the formula's values, and a batch of the formula's images. */
async function prepared(
  device: Device,
  batch: number,
  { network, size, method = "endToEnd", modules = 1, ...precision }: Spec,
) {
  const classes = size === undefined ? 10 : 1000, edge = size ?? 32;
  const t = await local.trainer({
    device,
    model: models.modelNamed(network, { classes, size: edge }),
    modules,
    method: local.methodNamed(method),
    optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    batch,
    ...precision,
  });
  await startFromFormula(t);
  const x = device.array(units("bench.images", batch * edge * edge * 3, 2), [batch, edge, edge, 3]);
  const labels = Int32Array.from({ length: batch }, (_, n) => hash("bench.labels", n) % classes);
  return { t, x, labels };
}

/** Gives a trainer's parameters the starting values that the parity fixtures have. */
export async function startFromFormula(t: local.Trainer): Promise<void> {
  const { tensors } = await t.snapshot();
  const trained = [...tensors].filter(([name]) =>
    /^(?!optimizer).*(weight|bias|class_token|pos_embedding)$/.test(name)
  );
  const values = startingValues(new Map(trained.map(([name, { shape }]) => [name, shape])));
  await start(
    t,
    new Map(
      trained.map(([name, { shape }]) => [name, new HostArray(values.get(tracked(t.setup, name))!, shape)]),
    ),
  );
}

/** The name that a parameter's starting value is computed from: its own, or for an average the tracked block's. */
function tracked({ modules }: local.Setup, name: string): string {
  return name.replace(/^local\.(\d+)\.ema/, (_, boundary) => modules[Number(boundary) + 1]!.blocks[0]!.name);
}

/** Puts starting values, by name, in the place of the drawn ones. */
async function start(t: local.Trainer, values: ReadonlyMap<string, HostArray>): Promise<void> {
  const snapshot = await t.snapshot();
  const tensors = new Map([...snapshot.tensors].map(([name, drawn]) => [name, values.get(name) ?? drawn]));
  t.restore({ ...snapshot, tensors });
}

/** A training step; gives the loss of the last module. */
async function training(device: Device, batch: number, spec: Spec): Promise<WorkloadStep> {
  const { t, x, labels } = await prepared(device, batch, spec);
  return async () => (await t.step({ x, labels }, { learningRate: LEARNING_RATE })).losses.at(-1)!;
}

/** The logits of a batch, with running statistics; gives the first. */
async function inference(device: Device, batch: number, spec: Spec): Promise<WorkloadStep> {
  const { t, x } = await prepared(device, batch, spec);
  const net = models.network(t.setup.model);
  const { params, state } = t.variables;
  const logits = jit(
    (params: local.TrainState<Tensor>["params"], state: local.TrainState<Tensor>["state"], x: Tensor) =>
      net.apply(params, state, x, "evaluate").y,
    { device, name: "inference" },
  );
  return async () => {
    using y = logits(params, state, x);
    return (await y.read())[0]!;
  };
}

/** The ResNet-8 step, SGD with momentum, with values that the peers in JavaScript have too. */
async function resnet8(device: Device, batch: number, precision: Precise): Promise<WorkloadStep> {
  const t = await local.trainer({
    device,
    model: models.resnet8({ classes: 10 }),
    method: local.endToEnd(),
    optimizer: optim.sgd({ momentum: 0.9 }),
    batch,
    ...precision,
  });
  await start(t, new Map(resnet8Parameters().map(({ name, oihw, values }) => [name, toKrsc(values, oihw)])));
  const { images, labels } = resnet8Batch(batch);
  const x = device.array(images, [batch, 32, 32, 3]);
  return async () => (await t.step({ x, labels }, { learningRate: 0.1 })).losses[0]!;
}

/** Trace, plan and kernel text of man+dgl, ResNet-110, K = 55; gives the length of the text. */
function compile(device: Device, batch: number): Promise<WorkloadStep> {
  return Promise.resolve(() => {
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
  if (shape.length !== 4) return new HostArray(values, shape);
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
  return new HostArray(result, [out, height, width, inner]);
}
