import { type LoadOptions, type NetworkValues, valuesOf } from "../artifacts/network_values.ts";
import type { Configuration, Snapshot } from "../artifacts/observer.ts";
import { LocalgradError } from "../base/errors.ts";
import {
  expectBetween,
  expectKind,
  expectObject,
  expectOptions,
  expectWhole,
  shown,
} from "../base/expect.ts";
import { foldIn, type Key, key } from "../base/random.ts";
import type { Precision } from "../compile/plan.ts";
import type { ImageDataset, ImagePart } from "../data/images.ts";
import { withCut } from "../local/balance.ts";
import { categorize, compareMemory, type MemoryComparison } from "../local/memory.ts";
import type { Batch, Method } from "../local/method.ts";
import type { Modules, Partition } from "../local/partition.ts";
import { precisionOn, productsIn } from "../local/precision.ts";
import { type Setup, setup, type TrainState } from "../local/setup.ts";
import { SETUP_KINDS } from "../local/setup.ts";
import { type StepResult, trainStep } from "../local/step.ts";
import type { Model } from "../models/model.ts";
import { type Initial, initialize } from "../nn/initial.ts";
import type { Named } from "../nn/named.ts";
import type { Optimizer, Scalars } from "../optim/optimizer.ts";
import { constant, type Schedule } from "../optim/schedules.ts";
import { Device, DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { jit } from "../runtime/jit.ts";
import { formatAval } from "../trace/dtype.ts";
import { concat } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { treeFlatten } from "../trace/tree.ts";
import { checkDataset } from "./dataset.ts";
import { type Evaluation, Evaluator } from "./evaluate.ts";
import { augmentationKey, type Feed, openFeed } from "./feed.ts";
import { fit, type FitOptions, type FitResult } from "./fit.ts";
import type { Stepper } from "./run.ts";

/** What a {@link trainer} trains, with what, and on what. */
export interface TrainerOptions {
  /** Where it runs. */
  device: Device;
  /** The network. */
  model: Model;
  /** How to cut it: a count, the blocks to cut after, or balanced; default 1. Methods that train end to end ignore it. */
  modules?: Modules;
  /** What trains the modules, such as `man(dgl())`. */
  method: Method;
  /** What moves the parameters. */
  optimizer: Optimizer;
  /** The learning rate of each epoch; default: 0.1 throughout. */
  schedule?: Schedule;
  /** What it is computed in, see {@link SetupOptions.precision}; checkpoints hold f32 whatever it is. */
  precision?: Precision;
  /** Images of a step. */
  batch: number;
  /** Where all random numbers of the run come from; default 0. */
  seed?: number;
  /**
   * Computes cheap element-wise results (batch norm, ReLU) again in the backward pass instead of holding them, where
   * that lowers the planned peak; the same bits. Default false.
   */
  recompute?: boolean;
  /** Names the first op that makes a NaN or an infinity. Slow; default false. */
  checkNumerics?: boolean;
}

/**
 * Makes a trainer and draws its starting values on the device.
 *
 * @throws {LocalgradError} where the network cannot be cut so, the method has no loss for a boundary, or the device does
 * not compute in the precision.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim } from "@localgrad/localgrad";
 * import { assert, assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("cpu");
 * using trainer = await local.trainer({
 *   device,
 *   model: models.resnet8({ classes: 10 }),
 *   modules: 3,
 *   method: local.man(local.dgl()),
 *   optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
 *   schedule: optim.constant(0.05),
 *   batch: 32,
 * });
 * const images = data.shapes({ train: 64, test: 32 });
 * await trainer.fit(images, { epochs: 1 });
 * assertEquals(trainer.stepsDone, 2); // 64 images, 32 at a time
 * const { error } = await trainer.evaluate(images);
 * assert(error >= 0 && error <= 1); // the fraction of the test images that is not recognised
 * ```
 */
export function trainer(options: TrainerOptions): Promise<Trainer> {
  // Asynchronous so that a device which must wait for its memory can, without a change for users.
  return Promise.resolve().then(() => new Trainer(options));
}

/** A network in training: its parameters on a device and the compiled steps that change them. */
export class Trainer implements Disposable {
  /** Where it runs. */
  readonly device: Device;
  /** What it trains, cut and equipped. */
  readonly setup: Setup;
  /** Images of a step. */
  readonly batch: number;
  /** The learning rate of each epoch, from 0. */
  readonly schedule: Schedule;
  /** What the run is, as JSON. */
  readonly configuration: Configuration;
  readonly #seed: Key;
  readonly #checkNumerics: boolean;
  readonly #recompute: boolean;
  #train: TrainState<DeviceArray>;
  #bestError: number | undefined;
  #step = 0;
  #memory: MemoryComparison | undefined;
  #direct: CompiledStep | undefined;
  #fitting = false;
  #restored = false;

  /** See {@link trainer}. */
  constructor(options: TrainerOptions) {
    expectOptions("trainer", options, {
      ...SETUP_KINDS,
      device: "object",
      schedule: "function?",
      batch: "number",
      seed: "number?",
      recompute: "boolean?",
      checkNumerics: "boolean?",
    });
    if (!(options.device instanceof Device)) {
      throw new LocalgradError(`trainer: the device must be of devices.open(), not ${shown(options.device)}`);
    }
    const { device, batch, schedule = constant(0.1), seed = 0, checkNumerics = false } = options;
    expectWhole("trainer: batch", batch);
    this.device = device;
    const { target } = device.backend;
    const { precision: wanted, ...rest } = options;
    this.setup = setup(withCut({ ...rest, precision: precisionOn(target, wanted), target }));
    this.batch = batch;
    this.schedule = schedule;
    this.#seed = key(seed);
    this.#checkNumerics = checkNumerics;
    this.#recompute = options.recompute === true;
    const { model, method, optimizer, modules, precision } = this.setup;
    this.configuration = {
      model: model.name,
      classes: model.classes,
      modules: modules.map((module) => module.name),
      method: { name: method.name, ...method.options },
      optimizer: { name: optimizer.name, ...optimizer.options },
      precision,
      batch,
      seed,
    };
    const draw = foldIn(this.#seed, 0);
    const { params, state, optimizer: slots } = this.setup.initial;
    this.#train = device.put({
      params: initialize(params, draw),
      state: initialize(state, draw),
      optimizer: initialize(slots, draw),
    } as never) as TrainState<DeviceArray>;
  }

  /** How the network is cut. */
  get partition(): Partition {
    return this.setup.partition;
  }
  /** Training steps done. */
  get stepsDone(): number {
    return this.#step;
  }
  /** Whether it goes on with a run: it has done steps, or was restored from a snapshot. */
  get resumed(): boolean {
    return this.#restored || this.#step > 0;
  }
  /** The lowest test error of the run, as a fraction; undefined before the first evaluation. */
  get bestError(): number | undefined {
    return this.#bestError;
  }
  /** Parameters, state and optimizer slots as they are now. They are replaced by every step. */
  get variables(): TrainState<DeviceArray> {
    return this.#train;
  }
  /** The planned memory of a training step, beside the end-to-end one; the data set counts apart. */
  get memory(): MemoryComparison {
    return this.#memory ??= compareMemory(this.setup, this.batch, this.device.backend.target, {
      recompute: this.#recompute,
    });
  }

  /**
   * One training step on a batch of one's own: normalised images, their labels, and (for methods that reconstruct) the
   * images in [0, 1]. The learning rate is the schedule's for the first epoch unless given.
   */
  async step(batch: HostBatch, options: { learningRate?: number } = {}): Promise<StepReport> {
    const step = this.#direct ??= this.#jit(
      "step",
      (train, { x, labels, images }: GivenBatch<Tensor>, scalars: Scalars<Tensor>) =>
        trainStep(
          this.setup,
          train,
          images === undefined ? withoutImages(x, labels) : { x, labels, images },
          scalars,
        ),
    );
    expectOptions("step: the batch", batch, { x: "object", labels: "any", images: "object?" });
    expectOptions("step", options, { learningRate: "number?" });
    for (const array of [batch.x, batch.images ?? batch.x]) {
      if (array instanceof DeviceArray || array instanceof HostArray) continue;
      throw new LocalgradError(`step: images are a HostArray or DeviceArray, not ${shown(array)}`);
    }
    await checkLabels(batch.labels, this.setup.model.classes);
    using metrics = this.#advance(step, [batch], options.learningRate ?? this.schedule(0));
    const values = await metrics.read();
    return {
      losses: [...values.subarray(0, -1)],
      accuracy: values[values.length - 1] / batch.x.shape[0],
    };
  }

  /**
   * Trains on a data set for a number of epochs, evaluating on its test images after each or every few of them. An epoch
   * takes the training images in a fresh order made from the seed and its number; a last, smaller batch is trained on
   * too, except one of a single image, of which batch norm can make nothing. A trainer that was restored from a snapshot
   * goes on where that was taken.
   *
   * @throws {LocalgradError} where the data set does not suit the network or contradicts itself, or `checkpoint` holds
   * another run; with code `diverged` where a loss, in training or on the test images, or anything to be saved holds a
   * NaN or an infinity (the last good checkpoint stays); what an observer threw, once the state is saved.
   */
  async fit(dataset: ImageDataset<ImagePart>, options: FitOptions): Promise<FitResult> {
    if (this.#fitting) throw new LocalgradError("fit: this trainer is at it already; await the run before");
    this.#fitting = true;
    try {
      return await fit(this, this.#seed, (error) => this.#bestError = error, dataset, options);
    } finally {
      this.#fitting = false;
    }
  }

  /**
   * Judges the network, without its auxiliary networks, on the test images of a data set.
   *
   * @throws {LocalgradError} where those do not suit the network.
   */
  async evaluate(dataset: ImageDataset<ImagePart>): Promise<Evaluation> {
    checkDataset("evaluate", this.setup.model, dataset, ["test"]);
    await using feed = openFeed(this.device, dataset, dataset.test);
    using evaluator = new Evaluator(this.setup, feed, this.batch);
    return await evaluator.evaluate(this.#train);
  }

  /** Compiled training steps on the images of a feed. */
  stepper(feed: Feed): Stepper {
    const step = this.#jit(
      `${this.setup.method.name} step`,
      (train, data: Named<Tensor>, indices: Tensor, augment: Tensor, scalars: Scalars<Tensor>) =>
        trainStep(this.setup, train, feed.batch(data, indices, augment), scalars),
    );
    return {
      step: (indices, learningRate, data = feed.arrays) =>
        this.#advance(step, [data, indices, augmentationKey(this.#seed, this.#step)], learningRate),
      [Symbol.dispose]: () => step.dispose(),
    };
  }

  /** Copies everything needed to go on later, exactly as it is, to the host. */
  async snapshot(): Promise<Snapshot> {
    const { leaves, paths } = treeFlatten<DeviceArray>(this.#train as never);
    const arrays = await Promise.all(leaves.map((array) => array.toHost()));
    return {
      step: this.#step,
      ...(this.bestError === undefined ? {} : { bestError: this.bestError }),
      tensors: new Map(paths.map((path, i) => [tensorName(path), arrays[i]])),
      configuration: this.configuration,
    };
  }

  /** Goes back to a snapshot; refuses one whose tensors are not those of this network and method. */
  restore(snapshot: Snapshot): void {
    const { leaves, paths } = treeFlatten<DeviceArray>(this.#train as never);
    expectObject("restore: the snapshot", snapshot, {
      step: "number",
      bestError: "number?",
      tensors: "object",
      configuration: "object",
    });
    if (!(snapshot.tensors instanceof Map)) throw new LocalgradError("restore: the tensors must be a Map");
    expectWhole("restore: the step", snapshot.step, 0);
    const hosts = paths.map((path, i): HostArray => {
      const name = tensorName(path);
      const host = snapshot.tensors.get(name);
      if (host === undefined) {
        throw new LocalgradError(`restore: the snapshot has no ${name}; it is of another network or method`);
      }
      if (formatAval(host) !== formatAval(leaves[i])) {
        throw new LocalgradError(
          `restore: ${name} is ${formatAval(host)} in the snapshot and ${
            formatAval(leaves[i])
          } here; it is of ` +
            `another network or method`,
        );
      }
      return host;
    });
    if (snapshot.tensors.size !== paths.length) {
      const known = new Set(paths.map(tensorName));
      const extra = [...snapshot.tensors.keys()].find((name) => !known.has(name));
      throw new LocalgradError(
        `restore: the snapshot has a ${extra}, which there is no place for; it is of another network or method`,
      );
    }
    leaves.forEach((array, i) => array.write(hosts[i]));
    this.#step = snapshot.step;
    this.#restored = true;
    this.#bestError = snapshot.bestError;
  }

  /**
   * Takes the network's values, such as those of a file that `train.loadWeights` read. Auxiliary networks, the
   * optimizer's slots and the count of steps stay as they are; an average that starts as a copy of a block becomes a
   * copy of that block's new values.
   *
   * @throws {LocalgradError} where the values are not those of this network.
   */
  load(values: NetworkValues, options: LoadOptions = {}): void {
    expectObject("load: the values", values, { name: "string", tensors: "object", skipped: "object?" });
    expectOptions("load", options, { newHead: "boolean?" });
    const taken = valuesOf(this.setup.model, values, options);
    const fill = (arrays: Named<DeviceArray>, initial: Named<Initial>) => {
      const { leaves: starts, paths } = treeFlatten<Initial>(initial);
      for (const [i, array] of treeFlatten<DeviceArray>(arrays as never).leaves.entries()) {
        const value = taken.get(starts[i].drawnAs ?? paths[i]);
        if (value !== undefined) array.write(value);
      }
    };
    const { params, state } = this.setup.initial;
    fill(this.#train.params, params);
    fill(this.#train.state, state);
  }

  /** Frees its arrays and compiled steps. */
  [Symbol.dispose](): void {
    disposeTree(this.#train as never);
    this.#direct?.dispose();
  }

  /** A compiled step; its result is the new variables and the losses with the number of correct images behind. */
  #jit<A extends readonly unknown[]>(name: string, f: (train: TrainState<Tensor>, ...rest: A) => StepResult) {
    return jit(
      (train: TrainState<Tensor>, ...rest: A) => {
        const { train: after, losses, correct } = f(train, ...rest);
        return { train: after, metrics: concat([losses, correct.reshape(1)]) };
      },
      {
        device: this.device,
        name,
        donate: [0],
        categorize,
        ...productsIn(this.setup.precision),
        recompute: this.#recompute,
        checkNumerics: this.#checkNumerics,
      },
    ) as unknown as CompiledStep;
  }

  #advance(step: CompiledStep, rest: readonly unknown[], learningRate: number): DeviceArray {
    expectBetween("the learning rate", learningRate, 0);
    const scalars = this.setup.optimizer.scalars(this.#step, learningRate);
    const { train, metrics } = step(this.#train, ...rest, scalars);
    this.#train = train;
    this.#step++;
    return metrics;
  }
}

/** Refuses labels that are no class, which `oneHot` would make a row without a target of. */
async function checkLabels(labels: HostBatch["labels"], classes: number): Promise<void> {
  const values = labels instanceof DeviceArray
    ? await labels.read()
    : labels instanceof HostArray
    ? labels.data
    : labels;
  expectKind("step: the labels", values, "array");
  const wrong = values.findIndex((label) => !(label >= 0 && label < classes));
  if (wrong < 0) return;
  throw new LocalgradError(
    `step: image ${wrong} of the batch has label ${values[wrong]}; ${classes} classes are 0 to ${
      classes - 1
    }`,
  );
}

/** The labelled images of a batch; asking for what a decoder should reconstruct is an error. */
function withoutImages(x: Tensor, labels: Tensor): Batch {
  return {
    x,
    labels,
    get images(): never {
      throw new LocalgradError(
        "step: this method reconstructs images; pass them, in [0, 1], as `images` of the batch",
      );
    },
  };
}

type GivenBatch<T> = Pick<Batch<T>, "x" | "labels"> & { readonly images?: T };

/** A batch given by hand. */
export interface HostBatch {
  /** Normalised images `[batch, height, width, channels]`, f32. */
  x: HostArray | DeviceArray;
  /** The class of each: i32 or u32 `[batch]`. */
  labels: HostArray | DeviceArray | Int32Array | Uint32Array;
  /** The same images in [0, 1]; needed by methods that reconstruct them. */
  images?: HostArray | DeviceArray;
}

/** How a step went. */
export interface StepReport {
  /** The loss of each module. */
  readonly losses: readonly number[];
  /** The fraction of the batch that the network's own head classified correctly. */
  readonly accuracy: number;
}

interface CompiledStep {
  (train: TrainState<DeviceArray>, ...rest: readonly unknown[]): {
    train: TrainState<DeviceArray>;
    metrics: DeviceArray;
  };
  dispose(): void;
}

/** A tensor's name in a snapshot, by its path in a {@link TrainState}. */
function tensorName(path: string): string {
  return path.replace(/^(params|state)\./, "");
}
