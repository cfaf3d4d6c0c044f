import type { ImageDataset, ImagePart } from "../data/images.ts";
import { LocalgradError } from "../errors.ts";
import { expectWhole } from "../expect.ts";
import { permutation } from "../random.ts";
import { progress } from "../train/progress.ts";
import { holdsRun, readRun, runFolder } from "../train/run_folder.ts";
import { type DeviceArray, disposeTree } from "../trace/arrays.ts";
import { bytesOf } from "../trace/dtype.ts";
import { treeLeaves } from "../trace/tree.ts";
import { checkDataset } from "./dataset.ts";
import { breathe, type Evaluation, Evaluator } from "./evaluate.ts";
import { type Feed, openFeed, type Order } from "./feed.ts";
import type { EpochRecord, HeldMemory, Observer, StepRecord } from "./observer.ts";
import type { Stepper, Trainer } from "./trainer.ts";

/** Options of {@link Trainer.fit}. */
export interface FitOptions {
  /** Passes over the training images, those done before included. */
  epochs: number;
  /** Judges the network on the test images after every so many epochs, and after the last; default 1. */
  evaluateEvery?: number;
  /** What watches the run; default: a progress bar on standard error, or lines where that is no terminal. */
  observers?: readonly Observer[];
  /** A folder to keep the run in: metrics, checkpoints and a report. One that holds a run is refused, see `resume`. */
  checkpoint?: string;
  /** Goes on with the run in the folder, bit for bit, where there is one; default false. */
  resume?: boolean;
  /** Stops the run after the step it is at; the state is saved. */
  signal?: AbortSignal;
}

/** How a run went. */
export interface FitResult {
  /** Whether it was stopped by the signal. */
  readonly stopped: boolean;
  /** The last evaluation; undefined where there was none. */
  readonly last?: Evaluation;
  /** The lowest test error of the run, as a fraction. */
  readonly bestError?: number;
}

/** A step that was issued and whose losses were not read yet. */
interface Pending {
  readonly metrics: DeviceArray;
  readonly record: Omit<StepRecord, "losses" | "accuracy">;
}

const DRAIN_STEPS = 20;
const DRAIN_MS = 500;
const BREATHE_MS = 20;

/** See {@link Trainer.fit}. */
export async function fit(
  trainer: Trainer,
  dataset: ImageDataset<ImagePart>,
  options: FitOptions,
): Promise<FitResult> {
  const { epochs, evaluateEvery = 1, signal } = options;
  expectWhole("fit: epochs", epochs);
  expectWhole("fit: evaluateEvery", evaluateEvery);
  checkDataset("fit", trainer.setup.model, dataset, ["train", "test"]);
  const { device, batch } = trainer;
  const starts = batchStarts(dataset.train.count, batch);
  if (starts.length === 0) {
    throw new LocalgradError(
      `fit: ${dataset.name} has a single training image, of which batch norm can make nothing; give it two or more`,
    );
  }
  const observers = [...(options.observers ?? [progress()]), ...await keeper(trainer, options)];
  await using training = openFeed(device, dataset, dataset.train);
  await using testing = openFeed(device, dataset, dataset.test);
  using stepper = trainer.stepper(training);
  using evaluator = new Evaluator(trainer.setup, testing, batch);
  const dataBytes = bytesIn(training) + bytesIn(testing);
  const run = new Run(trainer, stepper, observers, starts, training, epochs, dataBytes);
  let reason: "done" | "stopped" | "failed" = "failed";
  let last: Evaluation | undefined;
  try {
    await run.start();
    for (let epoch = Math.floor(trainer.stepsDone / starts.length); epoch < epochs; epoch++) {
      if (!await run.epoch(epoch, signal)) {
        reason = "stopped";
        await run.save(["last"]);
        return { stopped: true, ...run.summary(last) };
      }
      if ((epoch + 1) % evaluateEvery === 0 || epoch + 1 === epochs) {
        last = await evaluator.evaluate(trainer.variables);
        await run.judged(epoch, last);
      } else await run.save(["last"]);
    }
    reason = "done";
    return { stopped: false, ...run.summary(last) };
  } finally {
    await run.end();
    await run.notify((observer) => observer.end?.(reason));
  }
}

/** What keeps the run in a folder, if one was named; the trainer is restored from it first where the run goes on. */
async function keeper(trainer: Trainer, { checkpoint, resume = false }: FitOptions): Promise<Observer[]> {
  if (checkpoint === undefined) {
    if (resume) {
      throw new LocalgradError("fit: resume goes on with the run in a folder; name it with checkpoint");
    }
    return [];
  }
  const folder = runFolder(checkpoint);
  if (!resume || !await holdsRun(checkpoint)) {
    await folder.refuseUsed();
    return [folder];
  }
  const { snapshot } = await readRun(checkpoint, "last");
  for (const [name, value] of Object.entries(trainer.configuration)) {
    const before = JSON.stringify(snapshot.configuration[name]);
    if (before === JSON.stringify(value)) continue;
    throw new LocalgradError(
      `fit: the run in ${checkpoint} has ${name} ${before}, not ${
        JSON.stringify(value)
      }; make the trainer as it was, ` +
        `or choose another folder`,
    );
  }
  trainer.restore(snapshot);
  return [folder];
}

/** Bytes of a data set on the device. */
function bytesIn({ arrays }: Feed): number {
  return treeLeaves<DeviceArray>(arrays as never).reduce((sum, array) => sum + bytesOf(array), 0);
}

/** Where each batch of an epoch begins. */
function batchStarts(count: number, batch: number): number[] {
  const starts: number[] = [];
  for (let from = 0; from < count; from += batch) {
    if (count - from > 1 || batch === 1) starts.push(from);
  }
  return starts;
}

/** A run in progress: issues steps, reads their losses in batches, and tells the observers. */
class Run {
  readonly #trainer: Trainer;
  readonly #stepper: Stepper;
  readonly #observers: readonly Observer[];
  readonly #starts: readonly number[];
  readonly #feed: Feed;
  readonly #dataBytes: number;
  readonly #epochs: number;
  /** What the steps take, in their order over all epochs, so that the next epoch's first images are prepared in time. */
  readonly #supply: ReturnType<Feed["supply"]>;
  readonly #pending: Pending[] = [];
  readonly #compiled = new Set<number>();
  #drained = performance.now();
  #breathed = performance.now();
  /** Images and milliseconds of this epoch, compilation apart. */
  #images = 0;
  #ms = 0;
  /** Milliseconds of those that were spent waiting for images. */
  #waited = 0;
  /** What the feed had made when the epoch began. */
  #made: Feed["made"];

  constructor(
    trainer: Trainer,
    stepper: Stepper,
    observers: readonly Observer[],
    starts: readonly number[],
    feed: Feed,
    epochs: number,
    dataBytes: number,
  ) {
    this.#trainer = trainer;
    this.#stepper = stepper;
    this.#observers = observers;
    this.#starts = starts;
    this.#feed = feed;
    this.#dataBytes = dataBytes;
    this.#epochs = epochs;
    this.#supply = feed.supply(this.#orders());
    this.#made = feed.made;
  }

  async notify(tell: (observer: Observer) => void | Promise<void>): Promise<void> {
    for (const observer of this.#observers) await tell(observer);
  }

  async start(): Promise<void> {
    const { configuration, stepsDone, memory, partition } = this.#trainer;
    if (this.#observers.length === 0) return;
    const info = {
      configuration,
      epochs: this.#epochs,
      stepsPerEpoch: this.#starts.length,
      imagesPerEpoch: this.#feed.count,
      firstStep: stepsDone,
      modules: partition.modules.map((module) => module.name),
      memory,
    };
    await this.notify((observer) => observer.start?.(info));
  }

  /** The batches of the run from where it is, epoch by epoch. */
  *#orders(): Generator<Order> {
    const { batch, stepsDone } = this.#trainer;
    const perEpoch = this.#starts.length;
    for (let step = stepsDone; step < this.#epochs * perEpoch;) {
      const order = permutation(this.#trainer.permutationKey(Math.floor(step / perEpoch)), this.#feed.count);
      for (const from of this.#starts.slice(step % perEpoch)) {
        yield { indices: order.slice(from, from + batch), key: this.#trainer.augmentationKey(step++) };
      }
    }
  }

  /** Trains for the rest of an epoch; false where the signal stopped it. */
  async epoch(epoch: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { schedule } = this.#trainer;
    const learningRate = schedule(epoch);
    this.#images = this.#ms = this.#waited = 0;
    for (let left = this.#starts.length - this.#trainer.stepsDone % this.#starts.length; left > 0; left--) {
      if (signal?.aborted) {
        await this.#drain();
        return false;
      }
      await this.#issue(epoch, learningRate);
    }
    await this.#drain();
    return true;
  }

  async #issue(epoch: number, learningRate: number): Promise<void> {
    const before = performance.now();
    const { indices, data } = (await this.#supply.next()).value!;
    const waited = performance.now() - before;
    const images = indices.length;
    const fresh = !this.#compiled.has(images);
    const metrics = this.#stepper.step(indices, learningRate, data);
    const record = { step: this.#trainer.stepsDone, epoch: epoch + 1, learningRate, images };
    this.#pending.push({ metrics, record });
    if (fresh) await this.#trainer.device.finish();
    const now = performance.now();
    if (!fresh) {
      this.#count(images, now - before);
      this.#waited += waited;
    }
    this.#compiled.add(images);
    if (this.#pending.length >= DRAIN_STEPS || now - this.#drained > DRAIN_MS) await this.#drain();
    else if (now - this.#breathed > BREATHE_MS) {
      await breathe();
      this.#breathed = performance.now();
    }
  }

  #count(images: number, ms: number): void {
    this.#images += images;
    this.#ms += ms;
  }

  /** Reads what is pending and passes it on; refuses to go on with a loss that is no number. */
  async #drain(): Promise<void> {
    const before = performance.now();
    const values = await Promise.all(this.#pending.map(({ metrics }) => metrics.read()));
    this.#count(0, performance.now() - before);
    const records = this.#pending.map(({ record }, i): StepRecord => ({
      ...record,
      losses: [...values[i].subarray(0, -1)],
      accuracy: values[i][values[i].length - 1] / record.images,
    }));
    this.#free();
    for (const record of records) {
      const bad = record.losses.findIndex((loss) => !Number.isFinite(loss));
      await this.notify((observer) => observer.step?.(record));
      if (bad >= 0) {
        throw new LocalgradError(
          `fit: the loss of module ${bad + 1} (${this.#trainer.partition.modules[bad].name}) became ` +
            `${
              record.losses[bad]
            } in step ${record.step}; lower the learning rate (${record.learningRate}), or find ` +
            `the op with checkNumerics`,
        );
      }
    }
    await breathe();
    this.#drained = this.#breathed = performance.now();
  }

  /** Tells of an evaluation and saves. */
  async judged(epoch: number, { error, topFiveError, loss }: Evaluation): Promise<void> {
    const trainer = this.#trainer;
    const best = trainer.bestError === undefined || error < trainer.bestError;
    if (best) trainer.bestError = error;
    if (this.#observers.length === 0) return;
    const record = {
      epoch: epoch + 1,
      testError: error,
      ...(topFiveError === undefined ? {} : { topFiveError }),
      testLoss: loss,
      imagesPerSecond: this.#ms === 0 ? 0 : this.#images / this.#ms * 1000,
      plannedPeakBytes: trainer.memory.method.peakBytes,
      held: this.#held(),
      best,
      ...this.#loading(),
    };
    await this.notify((observer) => observer.epoch?.(record));
    // The last one last: killed in between, the run goes on from before this epoch and writes both again.
    await this.save(best ? ["best", "last"] : ["last"]);
  }

  #held(): HeldMemory {
    const { backend } = this.#trainer.device;
    const driver = backend.driverMemory?.();
    return {
      bytes: backend.liveBytes,
      dataBytes: this.#dataBytes,
      ...(driver === undefined ? {} : { driver }),
    };
  }

  async save(kinds: readonly ("last" | "best")[]): Promise<void> {
    if (!this.#observers.some((observer) => observer.save !== undefined)) return;
    const snapshot = await this.#trainer.snapshot();
    await this.notify((observer) => observer.save?.(snapshot, kinds));
  }

  summary(last: Evaluation | undefined): { last?: Evaluation; bestError?: number } {
    const { bestError } = this.#trainer;
    return { ...(last === undefined ? {} : { last }), ...(bestError === undefined ? {} : { bestError }) };
  }

  /** How the streamed images of the epoch kept up; nothing for those that lie on the device. */
  #loading(): Pick<EpochRecord, "loading"> {
    const [before, now] = [this.#made, this.#feed.made];
    this.#made = now;
    if (before === undefined || now === undefined) return {};
    const seconds = (now.milliseconds - before.milliseconds) / 1000;
    return {
      loading: {
        imagesPerSecond: seconds === 0 ? 0 : (now.images - before.images) / seconds,
        waiting: this.#ms === 0 ? 0 : this.#waited / this.#ms,
      },
    };
  }

  /** Gives up what is under way. */
  async end(): Promise<void> {
    this.#free();
    await this.#supply.return(undefined);
  }

  #free(): void {
    disposeTree(this.#pending.splice(0).map(({ metrics }) => metrics));
  }
}
