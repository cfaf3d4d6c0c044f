import { valueAndGrad } from "../autograd/grad.ts";
import { expectBetween, expectKind, expectOptions, expectWhole } from "../base/expect.ts";
import { foldIn, key, permutation } from "../base/random.ts";
import type { Precision } from "../compile/plan.ts";
import type { ImageDataset, ImagePart } from "../data/images.ts";
import { correctCount, crossEntropy } from "../local/losses.ts";
import { type Module, type Modules, partition } from "../local/partition.ts";
import { activationsIn, productsIn } from "../local/precision.ts";
import { layersOf, type Model } from "../models/model.ts";
import { type Layer, sequential, shapeAfter } from "../nn/layer.ts";
import { linear } from "../nn/linear.ts";
import { type Named, select } from "../nn/named.ts";
import { adamw } from "../optim/adamw.ts";
import type { Scalars, Slots } from "../optim/optimizer.ts";
import { zeroSlots } from "../optim/optimizer.ts";
import { type Device, type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { jit } from "../runtime/jit.ts";
import { concat } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { checkDataset } from "./dataset.ts";
import { breathe } from "./evaluate.ts";
import { openFeed } from "./feed.ts";
import type { Trainer } from "./trainer.ts";

/** How linear probes are trained. */
export interface ProbeOptions {
  /** Where to probe: behind each module of this cut; default that of the trainer. */
  modules?: Modules;
  /** Passes over the training features; default 20. */
  epochs?: number;
  /** Features of a step; default 256. */
  batch?: number;
  /** AdamW's learning rate at the start; it falls to 0 along a cosine. Default 0.01. */
  learningRate?: number;
  /** Where the order of features and the classifiers' starts come from; default 0. */
  seed?: number;
  /** Told of each module as it is done. */
  onProbe?: (probe: Probe) => void;
  /** Stops after the batch or step it is at, with an error. */
  signal?: AbortSignal;
}

/** What a linear classifier makes of a module's output. */
export interface Probe {
  /** The module's place, from 0. */
  readonly index: number;
  /** Its blocks, such as `layer1.0`. */
  readonly name: string;
  /** Channels of its output. */
  readonly channels: number;
  /** The fraction of training images that the classifier gets right. */
  readonly trainAccuracy: number;
  /** The fraction of test images. */
  readonly testAccuracy: number;
}

/** Features of a part of a data set: `[count, channels of all modules]`, with the images' classes. */
interface Features {
  readonly values: Float32Array;
  readonly labels: Int32Array;
  readonly count: number;
}

/**
 * Trains a linear classifier on the output of each module of a frozen network: how much of the class can be read off
 * linearly there (Alain and Bengio, 2016, arXiv 1610.01644). The network runs with its running statistics on images as
 * they are, not augmented; an output is averaged over space and scaled to mean 0 and deviation 1 per channel over the
 * training images. A network trained end to end is one module; `modules` says where to probe it in between.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("cpu");
 * using trainer = await local.trainer({
 *   device,
 *   model: models.resnet8(),
 *   modules: 3,
 *   method: local.greedy(),
 *   optimizer: optim.sgd(),
 *   batch: 32,
 * });
 * const probes = await local.probe(trainer, data.shapes({ train: 64, test: 32 }), { epochs: 2 });
 * assertEquals(probes.map(({ name }) => name), ["layer1.0", "layer2.0", "layer3.0"]);
 * ```
 */
export async function probe(
  trainer: Trainer,
  dataset: ImageDataset<ImagePart>,
  options: ProbeOptions = {},
): Promise<Probe[]> {
  expectKind("probe: the trainer", trainer, "object");
  expectKind("probe: the trainer's setup", trainer.setup, "object");
  expectOptions("probe", options, {
    modules: "any?",
    epochs: "number?",
    batch: "number?",
    learningRate: "number?",
    seed: "number?",
    onProbe: "function?",
    signal: "object?",
  });
  const { device, batch, setup: { model, precision } } = trainer;
  const { epochs = 20, batch: step = 256, learningRate = 0.01 } = options;
  expectWhole("probe: epochs", epochs);
  expectWhole("probe: batch", step);
  expectBetween("probe: learningRate", learningRate, 0);
  checkDataset("probe", model, dataset, ["train", "test"]);
  const { modules } = options.modules === undefined ? trainer.partition : partition(model, options.modules);
  const stages = stagesOf(model, modules);
  const channels = channelsOf(model, stages);
  const extract = (part: ImagePart) =>
    featuresOf(
      { device, batch, stages, variables: trainer.variables, precision },
      dataset,
      part,
      options.signal,
    );
  const [train, test] = [await extract(dataset.train), await extract(dataset.test)];
  const width = channels.reduce((sum, count) => sum + count, 0);
  const probes: Probe[] = [];
  let from = 0;
  for (const { index, name } of modules) {
    const [learnt, judged] = standardised(
      [train, test].map((part) => columns(part, width, from, channels[index])),
      channels[index],
    );
    const accuracies = await classify(
      device,
      { train: { ...train, values: learnt }, test: { ...test, values: judged }, channels: channels[index] },
      model.classes,
      options,
    );
    probes.push({ index, name, channels: channels[index], ...accuracies });
    options.onProbe?.(probes[index]);
    from += channels[index];
  }
  return probes;
}

/** Each module without the network's head, which would leave logits to probe. */
function stagesOf(model: Model, modules: readonly Module[]): Layer[] {
  return modules.map(({ index, blocks }) =>
    sequential({ ...(index === 0 ? model.stem : {}), ...layersOf(blocks) })
  );
}

function channelsOf({ input: { height, width, channels } }: Model, stages: readonly Layer[]): number[] {
  let shape: readonly number[] = [height, width, channels];
  return stages.map((stage) => (shape = shapeAfter(stage, shape))[shape.length - 1]);
}

/** Runs all images through the network and keeps each module's output, averaged over all but batch and channels. */
async function featuresOf(
  { device, batch, stages, variables, precision }: {
    device: Device;
    precision: Precision | undefined;
    batch: number;
    stages: readonly Layer[];
    variables: Trainer["variables"];
  },
  dataset: ImageDataset<ImagePart>,
  part: ImagePart,
  signal: AbortSignal | undefined,
): Promise<Features> {
  await using feed = openFeed(device, dataset, part);
  const size = Math.min(batch, part.count);
  const run = jit((variables: Variables<Tensor>, data: Named<Tensor>, indices: Tensor) => {
    let x = feed.batch(data, indices).x.cast(activationsIn(precision));
    const outputs = stages.map((stage) => {
      const [params, state] = [select(variables.params, stage.params), select(variables.state, stage.state)];
      x = stage.apply(params, state, x, "evaluate").y;
      const inner = x.shape.slice(1, -1).map((_, axis) => axis + 1);
      return (inner.length === 0 ? x : x.mean(inner)).cast("f32");
    });
    return concat(outputs, 1);
  }, { device, name: "features", ...productsIn(precision) });
  try {
    const { params, state } = variables;
    let values: Float32Array | undefined, from = 0;
    const orders = Array.from({ length: Math.ceil(part.count / size) }, (_, n) => ({
      // The last batch is filled up with images whose features are left out.
      indices: Uint32Array.from({ length: size }, (_, i) => Math.min(n * size + i, part.count - 1)),
    }));
    for await (const { indices, data } of feed.supply(orders)) {
      signal?.throwIfAborted();
      using features = run({ params, state } as never, data as never, indices as never);
      const rows = await features.read() as Float32Array;
      const width = features.shape[1];
      values ??= new Float32Array(part.count * width);
      values.set(rows.subarray(0, Math.min(size, part.count - from) * width), from * width);
      from += size;
      await breathe();
    }
    return { values: values!, labels: part.labels, count: part.count };
  } finally {
    run.dispose();
  }
}

type Variables<T> = { readonly params: Named<T>; readonly state: Named<T> };

/** Columns `from … from + count` of features `width` wide. */
function columns(
  { values, count: rows }: Features,
  width: number,
  from: number,
  count: number,
): Float32Array {
  const result = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    result.set(values.subarray(row * width + from, row * width + from + count), row * count);
  }
  return result;
}

/** Training and test features with mean 0 and deviation 1 per channel, by the training features. */
function standardised([train, test]: Float32Array[], channels: number): Float32Array[] {
  const rows = train.length / channels;
  for (let c = 0; c < channels; c++) {
    let sum = 0, squares = 0;
    for (let i = c; i < train.length; i += channels) sum += train[i];
    const mean = sum / rows;
    for (let i = c; i < train.length; i += channels) squares += (train[i] - mean) ** 2;
    const scale = squares === 0 ? 0 : 1 / Math.sqrt(squares / rows);
    for (const part of [train, test]) {
      for (let i = c; i < part.length; i += channels) part[i] = (part[i] - mean) * scale;
    }
  }
  return [train, test];
}

/** Trains a linear classifier on features and judges it on both parts. */
async function classify(
  device: Device,
  { train, test, channels }: { train: Features; test: Features; channels: number },
  classes: number,
  { epochs = 20, batch = 256, learningRate = 0.01, seed = 0, signal }: ProbeOptions,
): Promise<Pick<Probe, "trainAccuracy" | "testAccuracy">> {
  const optimizer = adamw({ weightDecay: 0 });
  const layer = linear({ in: channels, out: classes });
  const logits = (params: Named<Tensor>, x: Tensor) => layer.apply(params, {}, x, "train").y;
  const step = jit((
    { params, slots }: { params: Named<Tensor>; slots: Slots<Tensor> },
    { values, labels }: { values: Tensor; labels: Tensor },
    indices: Tensor,
    scalars: Scalars<Operand>,
  ) => {
    const [, gradients] = valueAndGrad((params: Named<Tensor>) =>
      crossEntropy(logits(params, values.gather(indices)), labels.gather(indices))
    )(params);
    return optimizer.update(params, gradients as Named<Tensor>, slots, scalars);
  }, { device, name: "linear probe", donate: [0] });
  const judge = jit(
    (params: Named<Tensor>, { values, labels }: { values: Tensor; labels: Tensor }) =>
      correctCount(logits(params, values), labels),
    { device, name: "linear probe judged" },
  );
  const host = ({ values, labels, count }: Features) => ({
    values: new HostArray(values, [count, channels]),
    labels: new HostArray(labels),
  });
  const { params } = layer.init(key(seed));
  const start = { params, slots: zeroSlots(optimizer, params as never) };
  const [learnt, judged, put] = device.put([host(train), host(test), start as never] as const);
  let state = put as ProbeState;
  try {
    const size = Math.min(batch, train.count);
    const steps = Math.floor(train.count / size);
    for (let epoch = 0, done = 0; epoch < epochs; epoch++) {
      const order = permutation(foldIn(key(seed), epoch), train.count);
      for (let i = 0; i < steps; i++, done++) {
        const rate = learningRate * (1 + Math.cos(Math.PI * done / (steps * epochs))) / 2;
        const scalars = optimizer.scalars(done, rate);
        const indices = order.slice(i * size, (i + 1) * size);
        state = step(state as never, learnt as never, indices as never, scalars as never) as ProbeState;
      }
      signal?.throwIfAborted();
      await device.finish();
      await breathe();
    }
    const accuracy = async (part: typeof learnt, count: number) => {
      using right = judge(state.params as never, part as never);
      return (await right.read())[0] / count;
    };
    return {
      trainAccuracy: await accuracy(learnt, train.count),
      testAccuracy: await accuracy(judged, test.count),
    };
  } finally {
    disposeTree(state as never);
    disposeTree([learnt, judged] as never);
    step.dispose();
    judge.dispose();
  }
}

interface ProbeState {
  readonly params: Named<DeviceArray>;
  readonly slots: Slots<DeviceArray>;
}
