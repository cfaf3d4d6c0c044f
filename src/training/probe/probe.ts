import { LocalgradError } from "../../base/errors.ts";
import { expectBetween, expectKind, expectOptions, expectWhole } from "../../base/expect.ts";
import type { ImageDataset, ImagePart } from "../../data/images.ts";
import { type Module, type Modules, partition } from "../../local/partition/partition.ts";
import { inputShape, layersOf, type Model } from "../../models/model.ts";
import { type Layer, sequential, shapeAfter } from "../../nn/layer.ts";
import { checkDataset } from "../dataset.ts";
import { columns, extractFeatures, standardise } from "./features.ts";
import { trainClassifier } from "./linear_classifier.ts";
import { expectSignal } from "../signal.ts";
import type { Trainer } from "../trainer.ts";

/** Options of {@link probe}. */
export interface ProbeOptions {
  /** Probes after each module of this cut; default the trainer's. */
  modules?: Modules;
  /** Passes over the training features; default 20. */
  epochs?: number;
  /** Features per step; default 256. */
  batch?: number;
  /** AdamW's learning rate at the start; it falls to 0 along a cosine. Default 0.01. */
  learningRate?: number;
  /** Seed of the order of features and of the classifiers' initial values; default 0. */
  seed?: number;
  /** Called with each module's result as soon as it is known. */
  onProbe?: (probe: Probe) => void;
  /** Stops after the current batch or step, with an error. */
  signal?: AbortSignal;
}

/** Accuracy of a linear classifier on a module's output. */
export interface Probe {
  /** Index of the module, from 0. */
  readonly index: number;
  /** Its blocks, such as `layer1.0`. */
  readonly name: string;
  /** Channels of its output. */
  readonly channels: number;
  /** Fraction of the training images that the classifier gets right. */
  readonly trainAccuracy: number;
  /** Fraction of the test images that it gets right. */
  readonly testAccuracy: number;
}

/**
 * Trains a linear classifier on the output of each module of a frozen network, which measures how linearly separable
 * the classes are there (Alain and Bengio, 2016, arXiv 1610.01644). The network uses its running statistics and images
 * that are not augmented; an output is averaged over space and scaled to mean 0 and deviation 1 per channel over the
 * training images. A network trained end to end is a single module: `modules` says where to probe within it.
 *
 * @throws {LocalgradError} if an option or the data set does not suit.
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
  const { epochs = 20, batch = 256, learningRate = 0.01, seed = 0, signal } = options;
  expectWhole("probe: epochs", epochs);
  expectWhole("probe: batch", batch);
  expectBetween("probe: learningRate", learningRate, 0);
  expectSignal("probe", signal);
  const { device, setup: { model, precision } } = trainer;
  if (model.contexts !== undefined) {
    throw new LocalgradError(
      `probe: the modules of ${model.name} read contexts, and not the features of the module before alone; probe a ` +
        "network that was trained without contSup",
    );
  }
  const variables = trainer.network();
  checkDataset("probe", model, dataset, ["train", "test"]);
  const { modules } = options.modules === undefined ? trainer.partition : partition(model, options.modules);
  const probed = stagesOf(model, modules);
  const width = probed.reduce((sum, { channels }) => sum + channels, 0);
  const frozen = {
    device,
    precision,
    batch: trainer.batch,
    stages: probed.map(({ stage }) => stage),
    variables,
  };
  const train = await extractFeatures(frozen, dataset, dataset.train, width, signal);
  const test = await extractFeatures(frozen, dataset, dataset.test, width, signal);
  const probes: Probe[] = [];
  let from = 0;
  for (const { module: { index, name }, channels } of probed) {
    const own = {
      train: { ...train, values: columns(train.values, width, from, channels) },
      test: { ...test, values: columns(test.values, width, from, channels) },
    };
    standardise(own.train.values, own.test.values, channels);
    const accuracies = await trainClassifier(
      device,
      { ...own, channels, classes: model.classes },
      { epochs, batch, learningRate, seed, signal },
    );
    const result: Probe = { index, name, channels, ...accuracies };
    probes.push(result);
    options.onProbe?.(result);
    from += channels;
  }
  return probes;
}

/** A module without the network's head, whose output would be logits, and the channels of its output. */
interface Stage {
  readonly module: Module;
  readonly stage: Layer;
  readonly channels: number;
}

function stagesOf({ input, stem }: Model, modules: readonly Module[]): Stage[] {
  let shape = inputShape({ input });
  return modules.map((module): Stage => {
    const stage = sequential({ ...(module.index === 0 ? stem : {}), ...layersOf(module.blocks) });
    shape = shapeAfter(stage, shape);
    return { module, stage, channels: shape.at(-1) ?? 1 };
  });
}
