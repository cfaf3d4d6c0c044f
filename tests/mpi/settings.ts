/** Runs of the tiny network that are trained in one process and in several, to be compared. */
import { checksum } from "../../src/backends/same_bits.ts";
import { CIFAR_AUGMENTATION } from "../../src/data/augment.ts";
import type { ImageDataset, ImagePart } from "../../src/data/images.ts";
import type { PixelDataset } from "../../src/data/label_maps.ts";
import { scenes } from "../../src/data/scenes.ts";
import type { Exchange } from "../../src/local/processes/exchange.ts";
import { crossEntropyLoss } from "../../src/local/loss.ts";
import type { Method } from "../../src/local/method.ts";
import {
  augLocal,
  dgl,
  greedy,
  infopro,
  man,
  manPlusPlus,
  predsim,
} from "../../src/local/methods/methods.ts";
import type { BatchNormStatistics } from "../../src/local/setup.ts";
import { dropout, stochasticDepth } from "../../src/nn/dropout.ts";
import { sequential } from "../../src/nn/layer.ts";
import { linear } from "../../src/nn/linear.ts";
import { imageInput, type Model, segments } from "../../src/models/model.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { clipped } from "../../src/optim/transforms.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Device } from "../../src/runtime/arrays.ts";
import { tinyDataset, tinyModel, tinySegmenter, tinyVit } from "../tiny.ts";
import { make, recorder, stopBefore } from "../tiny_trainer.ts";

/** What is trained. */
export interface Settings {
  readonly method: keyof typeof methods;
  readonly epochs: number;
  /** The network; default the tiny residual one. `dropping` is a transformer with dropout and stochastic depth. */
  readonly network?: keyof typeof networks;
  /** The folder of the run, which is resumed if it holds one. */
  readonly checkpoint?: string;
  readonly depth?: number;
  readonly exchange?: Exchange;
  readonly batchNorm?: BatchNormStatistics;
  /** Trains a step on a batch of its own first. */
  readonly given?: boolean;
  /** Clips gradients by their norm. */
  readonly clip?: boolean;
  /** Mixes the images of a batch. */
  readonly mix?: boolean;
  /** Gives each class a weight of its own. */
  readonly weigh?: boolean;
  /** The only process that recomputes. */
  readonly recomputes?: number;
  /** The process that is asked to stop, before its step of this number. */
  readonly stop?: { readonly rank: number; readonly step: number };
  /** The process that fails, before its step of this number. */
  readonly fail?: { readonly rank: number; readonly step: number };
}

const methods = {
  greedy: () => greedy(),
  "man+greedy": () => man(greedy()),
  dgl: () => dgl(),
  infopro: () => infopro(),
  predsim: () => predsim(),
  augLocal: () => augLocal(),
  "man+dgl": () => man(dgl()),
  "manPlusPlus+dgl": () => manPlusPlus(dgl()),
  "man after the step": () => man(dgl(), { moves: "afterStep" }),
} as const satisfies { [name: string]: () => Method };

const networks = { tiny: tinyModel, dropping, segmenter: tinySegmenter } as const;

/** A transformer with dropout after each block, whose end is left out for some images (stochastic depth). */
function dropping(): Model {
  const { blocks, ...rest } = tinyVit();
  const end = stochasticDepth({ layer: linear({ in: 6, out: 6 }), rate: 0.3 });
  return {
    ...rest,
    blocks: blocks.slice(0, 3).map(({ name, layer }) => ({
      name,
      layer: sequential({ layer, drop: dropout({ rate: 0.2 }), end }),
    })),
  };
}

/** Three steps an epoch, the last of fewer images. */
function dataset({ mix = false, network }: Settings): ImageDataset | PixelDataset {
  if (network === "segmenter") return scenes({ train: 40, test: 20, size: 16 });
  const set = tinyDataset(40, 20);
  return mix ? { ...set, augmentation: { ...CIFAR_AUGMENTATION, mix: { mixup: 1, cutmix: 1 } } } : set;
}

/** The same for a process that needs the labels of the training images alone: those cannot be read. */
function labelsAlone(set: ImageDataset | PixelDataset): ImageDataset<ImagePart> | PixelDataset {
  if ("task" in set) return set; // label maps are read with their images
  const { train: { labels, count }, ...rest } = set;
  const open = () => {
    throw new Error("a process that takes its features from another opened the training images");
  };
  return { ...rest, train: { labels, count, open } };
}

/** A batch of ones and zeros, with a flat list of labels: of images, or of their pixels. */
function batchOf(height: number, width: number, ofPixels: boolean) {
  const pixels = height * width;
  const values = Float32Array.from({ length: 6 * pixels * 3 }, (_, i) => i * i % 7 < 3 ? 1 : 0);
  return {
    x: new HostArray(values, [6, height, width, 3]),
    labels: Int32Array.from({ length: ofPixels ? 6 * pixels : 6 }, (_, i) => i % 3),
  };
}

/** Trains on a device, and says what came of it. */
export async function trained(device: Device, settings: Settings) {
  const { method, network = "tiny", epochs, checkpoint, depth, exchange, batchNorm, clip = false } = settings;
  const { given, stop, fail } = settings;
  const model = networks[network]();
  const { height, width } = imageInput("trained", model);
  const rank = device.processes?.rank ?? 0;
  using trainer = await make({
    device,
    model,
    method: methods[method](),
    optimizer: clip ? clipped(sgd(publishedSgd), { norm: 1 }) : sgd(publishedSgd),
    ...(depth === undefined ? {} : { depth }),
    ...(exchange === undefined ? {} : { exchange }),
    ...(batchNorm === undefined ? {} : { batchNorm }),
    ...(settings.weigh ? { loss: crossEntropyLoss({ classWeights: [1, 5, 0.2] }) } : {}),
    recompute: settings.recomputes === rank,
  });
  const { test } = dataset(settings);
  if (test === undefined) throw new Error("no test images");
  const report = given ? await trainer.step(batchOf(height, width, segments(model))) : undefined;
  const { observer, steps, epochs: evaluations, events } = recorder();
  const takesFeatures = (device.processes?.place.modules ?? 0) > 0 && method !== "infopro"; // which reconstructs images
  const { stopped, bestError } = await trainer.fit(
    takesFeatures ? labelsAlone(dataset(settings)) : dataset(settings),
    {
      epochs,
      observers: [observer],
      ...(checkpoint === undefined ? {} : { checkpoint, resume: true }),
      ...(rank === stop?.rank ? { signal: stopBefore(stop.step) } : {}),
      ...(rank === fail?.rank ? { signal: failBefore(fail.step) } : {}),
    },
  );
  const { tensors } = await trainer.snapshot();
  return {
    bits: [...tensors].map(([name, { data }]): [string, number] => [name, checksum(data)]),
    steps: steps.map(({ step, losses, accuracy, gradientNorms }) => [step, losses, accuracy, gradientNorms]),
    evaluations: evaluations.map(({ testError, testLoss }) => [testError, testLoss]),
    staleness: evaluations.map(({ staleness }) => staleness),
    classes: segments(model)
      ? (await trainer.segment([test.images.subarray(0, height * width * 3)])).map(({ labels }) =>
        checksum(labels)
      )
      : (await trainer.predict(test)).map(({ best }) => best.index),
    events,
    report,
    ...{ stopped, bestError },
    stepsDone: trainer.stepsDone,
  };
}

/** A signal that throws when it is asked before the step of this number. */
function failBefore(step: number): AbortSignal {
  let asked = 0;
  const get = () => {
    if (++asked >= step) throw new Error("this one failed");
    return false;
  };
  return Object.create(new AbortController().signal, { aborted: { get } });
}

/** What came of a run, as JSON gives it back. */
export type Trained = Awaited<ReturnType<typeof trained>>;
