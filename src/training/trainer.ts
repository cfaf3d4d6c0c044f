import type { Recompute } from "../compile/recomputation.ts";
import type { LoadOptions, NetworkValues } from "../artifacts/network_values.ts";
import type { Configuration, Snapshot } from "../artifacts/observer.ts";
import type { RunDevice } from "../artifacts/run_devices.ts";
import { sameBits } from "../backends/same_bits.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectOptions } from "../base/expect.ts";
import type { ArrayDataset } from "../data/arrays.ts";
import type { ImageDataset, ImagePart } from "../data/images.ts";
import type { PixelDataset, PixelPart } from "../data/label_maps.ts";
import type { Signature } from "../data/signature.ts";
import type { StreamDataset } from "../data/stream.ts";
import { evaluated } from "../local/average.ts";
import type { TrainingPlan, WayWithinLimit } from "../local/limit/limit.ts";
import { typicalSpeeds } from "../local/limit/options.ts";
import { plannedWay } from "../local/limit/way.ts";
import { compareMemory, type MemoryComparison } from "../local/memory.ts";
import type { Partition } from "../local/partition/partition.ts";
import type { Setup, TrainState } from "../local/setup.ts";
import { constant, type Schedule } from "../optim/schedules.ts";
import type { Picture, Pictures } from "../predict/inputs.ts";
import type { LabelMap } from "../predict/label_map.ts";
import type { Prediction } from "../predict/prediction.ts";
import type { NetworkVariables, PredictOptions, Predictor } from "../predict/predictor.ts";
import type { Device, DeviceArray } from "../runtime/arrays.ts";
import type { HostArray } from "../trace/host_array.ts";
import { CurrentNetwork } from "./current_network.ts";
import { checkData, openPart, type TrainingData } from "./data_kinds.ts";
import { atOnce, type Evaluation, Evaluator } from "./evaluate.ts";
import type { BatchMaker } from "./feeds/feed.ts";
import { fit, type FitResult } from "./fit.ts";
import type { FitOptions } from "./fit_options.ts";
import { collect } from "./processes/gathering.ts";
import { checkBatch, type HostBatch, type StepReport } from "./host_batch.ts";
import { checkMetrics, type EvaluateOptions } from "./metric.ts";
import { copyTensors, loadValues, restoreTensors, returnTo, snapshotAt } from "./snapshots.ts";
import type { Steps } from "./steps.ts";
import type { Team } from "./processes/team.ts";
import type { Position, Stepper } from "./trainable.ts";
import type { TrainerOptions } from "./trainer_options.ts";
import { trainerParts } from "./trainer_parts.ts";

/**
 * Creates a trainer and draws its initial values on the device.
 *
 * @throws {LocalgradError} if the network cannot be cut like that, the method has no loss for a boundary, or the device
 * does not compute in the precision.
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
 * assert(error >= 0 && error <= 1); // the fraction of the test images classified wrongly
 * ```
 */
export function trainer(options: TrainerOptions): Promise<Trainer> {
  // A promise, so that a device may later wait for its memory without a change for users.
  return Promise.resolve().then(() => new Trainer(options));
}

/** A network in training: its parameters on a device and the compiled steps that update them. */
export class Trainer implements Disposable {
  /** The device it trains on. */
  readonly device: Device;
  /** The network with its cut, auxiliary networks and optimizer. */
  readonly setup: Setup;
  /** Images per step. */
  readonly batch: number;
  /** The learning rate by epoch and step, from 0. */
  readonly schedule: Schedule;
  /** The run's configuration, as JSON. */
  readonly configuration: Configuration;
  /** The processes that train it. */
  readonly #team: Team;
  readonly #recompute: Recompute;
  readonly #position: Position;
  readonly #steps: Steps;
  /** To evaluate and predict with. */
  readonly #network: CurrentNetwork;
  /** What was chosen within the `memoryLimit`; undefined without one, or for several processes. */
  readonly chosen: WayWithinLimit | undefined;
  #plan: TrainingPlan | undefined;
  #memory: MemoryComparison | undefined;
  #fitting = false;

  /** See {@link trainer}. */
  constructor(options: TrainerOptions) {
    const { setup, configuration, position, team, steps, batch, recompute, plan } = trainerParts(options);
    this.device = options.device;
    this.setup = setup;
    this.batch = batch;
    this.schedule = options.schedule ?? constant(0.1);
    this.configuration = configuration;
    this.#recompute = recompute;
    this.chosen = this.#plan = plan;
    this.#position = position;
    this.#team = team;
    this.#steps = steps;
    this.#network = new CurrentNetwork(this.device, setup, team.pipeline, () => evaluated(this.variables));
  }

  /** The cut of the network. */
  get partition(): Partition {
    return this.setup.partition;
  }
  /** Training steps done. */
  get stepsDone(): number {
    return this.#position.step;
  }
  /** True if it continues a run: it has done steps, or was restored from a snapshot. */
  get resumed(): boolean {
    return this.#position.restored || this.#position.step > 0;
  }
  /**
   * The devices of the run in order, this one last. More than one if it was restored from a snapshot of another: another
   * backend, engine of the CPU, or version or instruction set of oneDNN.
   */
  get devices(): readonly RunDevice[] {
    return this.#position.devices;
  }
  /** The lowest test error of the run, see {@link Evaluation.error}; undefined before the first evaluation. */
  get bestError(): number | undefined {
    return this.#position.bestError;
  }
  /** The highest mean IoU of the run, of a segmentation; undefined before the first evaluation. */
  get bestMeanIoU(): number | undefined {
    return this.#position.bestMeanIoU;
  }
  /**
   * Class names and preprocessing of the images that it was last trained on, or that its weights came with; undefined if
   * neither is known. Checkpoints and exported files keep them.
   */
  get signature(): Signature | undefined {
    return this.#position.signature;
  }
  /** The setup of this process's part. */
  get #own(): Setup {
    return this.#team.division?.own ?? this.setup;
  }
  /** The current parameters, state and optimizer slots; of several processes, this one's. Every step replaces them. */
  get variables(): TrainState<DeviceArray> {
    return this.#steps.train;
  }
  /**
   * The planned memory of a training step and of the end-to-end one, without the data set; of several processes, of this
   * one's step.
   */
  get memory(): MemoryComparison {
    const { target } = this.device.backend;
    return this.#memory ??= compareMemory(this.#own, this.batch, target, { recompute: this.#recompute });
  }

  /**
   * How it trains: the method, the cut, what is recomputed, the planned peak and the predicted time of a step, at typical
   * speeds of the device's kind. With a `memoryLimit`, what was chosen within it, and what the next faster way would need.
   *
   * @example
   * ```ts
   * import { devices, local, models, optim } from "@localgrad/localgrad";
   * import { assert, assertEquals } from "@std/assert";
   *
   * await using device = await devices.open("cpu");
   * using trainer = await local.trainer({
   *   device,
   *   model: models.resnet20(),
   *   method: local.endToEnd(),
   *   optimizer: optim.sgd(),
   *   batch: 32,
   *   memoryLimit: "32MiB",
   * });
   * const { peakBytes, next } = trainer.plan();
   * assert(peakBytes <= 32 * 2 ** 20);
   * assert(next!.peakBytes > 32 * 2 ** 20);
   * assertEquals(peakBytes, trainer.memory.method.peakBytes);
   * ```
   */
  plan(): TrainingPlan {
    if (this.#plan !== undefined) return this.#plan;
    const { batch, device: { backend: { target } } } = this;
    const recompute = this.#recompute;
    return this.#plan = plannedWay(this.#own, { batch, target, recompute, speeds: typicalSpeeds(target) });
  }

  /**
   * Trains one step on a batch given by the caller: normalised images, their labels, and (for methods that reconstruct)
   * the images in [0, 1]. The learning rate is the schedule's for the first epoch unless given. Several processes are all
   * given the whole batch, and report the same.
   */
  async step(batch: HostBatch, options: { learningRate?: number } = {}): Promise<StepReport> {
    expectOptions("step", options, { learningRate: "number?" });
    await checkBatch(batch, this.setup.model);
    const position = { step: this.#position.step, stepsPerEpoch: Infinity };
    const { learningRate = this.schedule(0, position) } = options;
    return await this.#team.together(() => this.#steps.given(batch, learningRate));
  }

  /**
   * Trains on a data set for a number of epochs and evaluates on its test images after every epoch or every few. An
   * epoch takes the training images in a fresh order, drawn from the seed and the epoch's number. A smaller last batch
   * is trained on too, unless it has a single image: batch norm needs at least two. A trainer that was restored from a
   * snapshot resumes where that was taken. A data set without a test part is trained on without evaluations, unless
   * `validation` sets images aside. A stream is taken in its own order, see `data.stream`.
   *
   * Of several processes all call it with the same data; process 0 has the observers and the folder. All stop after the
   * same step if the signal of any comes. After an error a process gives up on the others, and its end ends them.
   *
   * @throws {LocalgradError} if the data set does not suit the network or contradicts itself, or `checkpoint` is of
   * another run; with code `diverged` if a loss, in training or on the test images, or anything to be saved holds a NaN
   * or an infinity (the last good checkpoint stays); the error an observer threw, once the state is saved.
   */
  async fit(dataset: TrainingData, options: FitOptions): Promise<FitResult> {
    if (this.#fitting) throw new LocalgradError("fit: already running; await the previous `fit()`");
    this.#fitting = true;
    try {
      return await this.#team.together(() => fit(this, this.#position, this.#team, dataset, options));
    } finally {
      this.#fitting = false;
    }
  }

  /**
   * Evaluates the network, without its auxiliary networks, on the test images of a data set. Several processes, all of
   * which call it, divide the batches of images; each then holds the whole network.
   *
   * @throws {LocalgradError} if they do not suit the network, or there is no such metric.
   *
   * @example
   * ```ts
   * import { data, devices, local, models, optim } from "@localgrad/localgrad";
   * import { assertAlmostEquals, assertEquals } from "@std/assert";
   *
   * await using device = await devices.open("cpu");
   * const options = { device, model: models.resnet8(), method: local.endToEnd(), optimizer: optim.sgd(), batch: 8 };
   * using trainer = await local.trainer(options);
   * const surprise = { name: "surprise", each: local.crossEntropies };
   * const metrics = ["perClass", "confusion", surprise] as const;
   * const found = await trainer.evaluate(data.shapes({ train: 8, test: 20 }), { metrics });
   * assertEquals(found.confusion!.flat().reduce((a, b) => a + b), 20); // row: class; column: taken for
   * assertEquals(found.perClass![3].images, found.confusion![3].reduce((a, b) => a + b));
   * assertAlmostEquals(found.metrics!["surprise"]!, found.loss, 1e-6);
   * ```
   */
  async evaluate(
    dataset: ImageDataset<ImagePart> | PixelDataset<PixelPart> | ArrayDataset | StreamDataset,
    options: EvaluateOptions = {},
  ): Promise<Evaluation> {
    const { model } = this.setup;
    expectOptions("evaluate", options, { metrics: "array?" });
    checkMetrics("evaluate", options.metrics, model);
    checkData("evaluate", model, dataset, ["test"]);
    return await this.#team.together(async () => {
      await this.gather();
      await using feed = openPart(this.device, model, dataset, "test");
      using evaluator = new Evaluator(this.setup, feed, atOnce(this.setup, this.batch), options, this.#team);
      return await evaluator.evaluate(this.network());
    });
  }

  /**
   * Predicts an image with the network as it is now, without its auxiliary networks: bytes
   * `[height, width, channels]`, which are normalised as those of its data set. Calls may run at once, and during `fit`.
   */
  predict(image: Picture, options?: PredictOptions): Promise<Prediction>;
  /**
   * Predicts images or vectors, in order: a list, `[images, height, width, channels]` of u8, or of f32 if they are
   * normalised, `[vectors, features]`, or a part of a data set.
   *
   * @throws {LocalgradError} if an image does not suit the network, or bytes are given before it was trained on a data
   * set or got weights with a signature. Files of pictures take a `predict.load` with a decoder.
   *
   * @example
   * ```ts
   * import { data, devices, local, models, optim } from "@localgrad/localgrad";
   * import { assertEquals } from "@std/assert";
   *
   * await using device = await devices.open("cpu");
   * const options = { device, model: models.resnet8(), method: local.endToEnd(), optimizer: optim.sgd(), batch: 16 };
   * using trainer = await local.trainer(options);
   * const images = data.shapes({ train: 32, test: 8 });
   * await trainer.fit(images, { epochs: 1, observers: [] });
   * const predictions = await trainer.predict(images.test);
   * const wrong = predictions.filter(({ best }, i) => best.index !== images.test.labels[i]);
   * assertEquals(wrong.length / 8, (await trainer.evaluate(images)).error);
   * ```
   */
  predict(images: Pictures, options?: PredictOptions): Promise<Prediction[]>;
  predict(images: Picture | Pictures, options: PredictOptions = {}): Promise<Prediction | Prediction[]> {
    return this.#predictor.predict(images, options);
  }

  /**
   * The outputs of the network as it is now for inputs, in order, `[inputs, outputs]`: the values of a regression, or
   * logits; of a segmentation logits of pixels, `[inputs, height, width, classes]`.
   *
   * @throws {LocalgradError} if an input does not suit the network.
   *
   * @example
   * ```ts
   * import { data, devices, HostArray, local, models, optim } from "@localgrad/localgrad";
   * import { assertAlmostEquals } from "@std/assert";
   *
   * const x = new HostArray(Float32Array.from({ length: 64 }, (_, i) => Math.cos(i)), [32, 2]);
   * const sums = data.arrays({ x, labels: Float32Array.from({ length: 32 }, (_, i) => x.data[2 * i] + x.data[2 * i + 1]) });
   * await using device = await devices.open("cpu");
   * const model = models.mlp({ features: 2, hidden: [16], outputs: 1 });
   * const options = { device, model, method: local.endToEnd(), optimizer: optim.adamw(), batch: 16 };
   * using trainer = await local.trainer({ ...options, schedule: optim.constant(0.02) });
   * await trainer.fit(sums, { epochs: 100, observers: [] });
   * const { data: [value] } = await trainer.outputs(new HostArray(Float32Array.of(0.5, 0.25), [1, 2]));
   * assertAlmostEquals(value, 0.75, 0.1);
   * ```
   */
  outputs(inputs: Pictures): Promise<HostArray<"f32">> {
    return this.#predictor.outputs(inputs);
  }

  /**
   * The class of each pixel of images, in order, by a segmentation as it is now.
   *
   * @throws {LocalgradError} if the network gives one class for each image, or an image does not suit it.
   */
  segment(images: Pictures): Promise<LabelMap[]> {
    return this.#predictor.segment(images);
  }

  /** The predictor of the network as it is now. */
  get #predictor(): Predictor {
    return this.#network.predictor(this.batch, this.#position);
  }

  /**
   * The network's current parameters and running statistics on the device, for those who write their own step or loop:
   * without auxiliary networks and the optimizer's slots. If the trainer averages weights, these are the averages, which
   * are evaluated. `models.network` applies them. Every step replaces the arrays.
   *
   * In a pipeline of processes they are those of the last evaluation, or of the end of `fit`.
   *
   * @throws {LocalgradError} in a pipeline before that.
   *
   * @example
   * ```ts
   * import { devices, HostArray, jit, local, models, optim, type predict, type Tensor } from "@localgrad/localgrad";
   * import { assertEquals } from "@std/assert";
   *
   * await using device = await devices.open("cpu");
   * const model = models.resnet8({ classes: 4 });
   * const options = { device, model, modules: 3, method: local.dgl(), optimizer: optim.sgd(), batch: 2 };
   * using trainer = await local.trainer(options);
   * const net = models.network(model);
   * const logits = jit(({ params, state }: predict.NetworkVariables<Tensor>, x: Tensor) =>
   *   net.apply(params, state, x, "evaluate").y
   * );
   * using y = logits(trainer.network(), new HostArray(new Float32Array(2 * 32 * 32 * 3), [2, 32, 32, 3]));
   * assertEquals(y.shape, [2, 4]);
   * ```
   */
  network(): NetworkVariables<DeviceArray> {
    return this.#network.variables;
  }

  /** In a pipeline: gathers the network of all processes, for {@link network}. All processes call it. */
  async gather(): Promise<void> {
    await this.#network.gather();
  }

  /** Compiled training steps on the images of a feed. */
  stepper(feed: BatchMaker): Stepper {
    return this.#steps.on(feed);
  }

  /**
   * Compares the values of all processes that share batches, which are the same bits unless something is wrong with one of
   * them; called after each epoch.
   *
   * @throws {LocalgradError} on all of them, if values differ, with the name of the first.
   */
  async verify(): Promise<void> {
    const { processes } = this.#team;
    if (processes === undefined || processes.layout.data === 1) return;
    sameBits(processes.communicators.data, await copyTensors(this.variables));
  }

  /**
   * Copies the complete training state to the host, for {@link restore}. In a pipeline, where all processes call it, only
   * process 0 gets it; the others get their own values.
   */
  async snapshot(): Promise<Snapshot> {
    const { pipeline } = this.#team;
    const own = await copyTensors(this.variables);
    const tensors = pipeline === undefined ? own : collect(this.setup, pipeline, own);
    return snapshotAt(this.#position, tensors, this.configuration);
  }

  /**
   * Returns to a snapshot; refuses one of another network or method. One of another device is taken, but the last bits of
   * what follows will differ from those of an uninterrupted run; {@link devices} tells. It does not matter how many
   * processes took it: each of several, all of which are given it, takes its part.
   */
  restore(snapshot: Snapshot): void {
    restoreTensors(this.setup, this.variables, snapshot);
    returnTo(this.#position, snapshot, this.device.arithmetic);
  }

  /**
   * Loads values of the network, such as those that `train.loadWeights` read from a file. Auxiliary networks, the
   * optimizer's slots and the count of steps stay as they are; an average that starts as a copy of a block becomes a
   * copy of that block's new values.
   *
   * @throws {LocalgradError} if the values are not those of this network.
   */
  load(values: NetworkValues, options: LoadOptions = {}): void {
    loadValues(this.setup, this.variables, values, options);
    this.#position.loaded = true;
    if (values.signature !== undefined && !options.newHead) this.#position.signature = values.signature;
  }

  /** Frees its arrays and compiled steps. */
  [Symbol.dispose](): void {
    this.#steps[Symbol.dispose]();
    this.#network[Symbol.dispose]();
  }
}
