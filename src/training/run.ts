import type {
  Configuration,
  EpochRecord,
  HeldMemory,
  Observer,
  Snapshot,
  StepRecord,
} from "../artifacts/observer.ts";
import { type Key, permutation } from "../base/random.ts";
import type { MemoryComparison } from "../local/memory.ts";
import type { Setup, TrainState } from "../local/setup.ts";
import type { Schedule } from "../optim/schedules.ts";
import { type Device, type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { Audience } from "./audience.ts";
import { diverged, refuseDiverged } from "./divergence.ts";
import { breathe, type Evaluation, type Evaluator } from "./evaluate.ts";
import { augmentationKey, type Feed, type Order, permutationKey, type Supplied } from "./feed.ts";

/** How often the state is saved within an epoch. */
export type SaveEvery = { readonly steps: number } | { readonly minutes: number };

/** Issues training steps on a feed; each gives its losses, one a module, with the number of correct images behind. */
export interface Stepper extends Disposable {
  /** Trains on the images at `indices`; `data` is what the feed supplied for them, where images are streamed. */
  step(indices: Uint32Array, learningRate: number, data?: Supplied["data"]): DeviceArray;
}

/** The part of a trainer that a run drives. */
export interface Trainable {
  readonly device: Device;
  readonly setup: Setup;
  readonly batch: number;
  readonly schedule: Schedule;
  readonly configuration: Configuration;
  readonly stepsDone: number;
  readonly resumed: boolean;
  readonly bestError: number | undefined;
  readonly variables: TrainState<DeviceArray>;
  readonly memory: MemoryComparison;
  stepper(feed: Feed): Stepper;
  snapshot(): Promise<Snapshot>;
  restore(snapshot: Snapshot): void;
}

/** What a {@link Run} is made of. */
export interface RunParts {
  readonly trainer: Trainable;
  /** Where the random numbers of the run come from. */
  readonly seed: Key;
  /** Keeps the lowest test error of the run. */
  readonly keepBest: (error: number) => void;
  readonly stepper: Stepper;
  readonly evaluator: Evaluator;
  readonly observers: readonly Observer[];
  /** Where each batch of an epoch begins. */
  readonly starts: readonly number[];
  readonly feed: Feed;
  readonly epochs: number;
  readonly evaluateEvery: number;
  readonly saveEvery?: SaveEvery | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes of the data set on the device. */
  readonly dataBytes: number;
}

/** A step that was issued and whose losses were not read yet. */
interface Pending {
  readonly metrics: DeviceArray;
  readonly record: Omit<StepRecord, "losses" | "accuracy">;
}

const DRAIN_STEPS = 20;
const DRAIN_MS = 500;
const BREATHE_MS = 20;

/** A run in progress: issues steps, reads their losses in batches, evaluates, saves, and tells the observers. */
export class Run {
  readonly #parts: RunParts;
  readonly #audience: Audience;
  /** What the steps take, in their order over all epochs, so that the next epoch's first images are prepared in time. */
  readonly #supply: ReturnType<Feed["supply"]>;
  readonly #pending: Pending[] = [];
  readonly #compiled = new Set<number>();
  #drained = performance.now();
  #breathed = performance.now();
  #saved = performance.now();
  #savedStep: number | undefined;
  /** Of this epoch; undefined before the first step. */
  #learningRate: number | undefined;
  #last: Evaluation | undefined;
  /** Images and milliseconds of this epoch, compilation apart. */
  #images = 0;
  #ms = 0;
  /** Milliseconds of those that were spent waiting for images. */
  #waited = 0;
  /** What the feed had made when the epoch began. */
  #made: Feed["made"];

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#audience = new Audience(parts.observers);
    this.#supply = parts.feed.supply(this.#orders());
    this.#made = parts.feed.made;
  }

  /** The last evaluation; undefined where there was none. */
  get last(): Evaluation | undefined {
    return this.#last;
  }

  /** Trains to the end; false where the signal stopped it. The state is saved either way. */
  async train(): Promise<boolean> {
    const { trainer, starts, epochs, evaluateEvery } = this.#parts;
    await this.#start();
    for (let epoch = Math.floor(trainer.stepsDone / starts.length); epoch < epochs; epoch++) {
      const whole = await this.#epoch(epoch);
      if (whole && ((epoch + 1) % evaluateEvery === 0 || epoch + 1 === epochs)) await this.#evaluate(epoch);
      else await this.#save();
      this.#audience.raise();
      if (!whole) return false;
    }
    if (!this.#audience.keeps) await this.#snapshot(); // refuses what diverged
    return true;
  }

  /** Gives up what is under way and tells everyone of the end. */
  async end(reason: "done" | "stopped" | "failed"): Promise<void> {
    this.#free();
    await this.#supply.return(undefined);
    await this.#audience.end(reason);
  }

  /** Throws what an observer threw at the end. */
  raise(): void {
    this.#audience.raise();
  }

  async #start(): Promise<void> {
    if (this.#audience.empty) return;
    const { trainer, starts, feed, epochs } = this.#parts;
    await this.#audience.start({
      configuration: trainer.configuration,
      epochs,
      stepsPerEpoch: starts.length,
      imagesPerEpoch: feed.count,
      firstStep: trainer.stepsDone,
      resumed: trainer.resumed,
      modules: trainer.setup.partition.modules.map((module) => module.name),
      memory: trainer.memory,
    });
    // A run can be resumed from its first moment, and what cannot be saved is known before hours of training. One that
    // goes on may do so in another folder, or with other settings, which its checkpoint is to say.
    await this.#save();
    this.#audience.raise();
  }

  /** The batches of the run from where it is, epoch by epoch. */
  *#orders(): Generator<Order> {
    const { trainer, seed, starts, feed, epochs } = this.#parts;
    for (let step = trainer.stepsDone; step < epochs * starts.length;) {
      const order = permutation(permutationKey(seed, Math.floor(step / starts.length)), feed.count);
      for (const from of starts.slice(step % starts.length)) {
        yield { indices: order.slice(from, from + trainer.batch), key: augmentationKey(seed, step++) };
      }
    }
  }

  /** Trains for the rest of an epoch; false where the signal, or an observer that threw, stopped it. */
  async #epoch(epoch: number): Promise<boolean> {
    const { trainer, starts, signal } = this.#parts;
    const learningRate = this.#learningRate = trainer.schedule(epoch);
    this.#images = this.#ms = this.#waited = 0;
    for (let left = starts.length - trainer.stepsDone % starts.length; left > 0; left--) {
      if (signal?.aborted || this.#audience.failed) {
        await this.#drain();
        return false;
      }
      await this.#issue(epoch, learningRate);
      // The last step's state is saved behind the evaluation: resumed from before it, the run would leave that out.
      if (left > 1 && this.#due()) {
        await this.#drain();
        await this.#save();
      }
    }
    await this.#drain();
    return true;
  }

  async #issue(epoch: number, learningRate: number): Promise<void> {
    const { trainer, stepper } = this.#parts;
    const before = performance.now();
    const { indices, data } = (await this.#supply.next()).value!;
    const waited = performance.now() - before;
    const images = indices.length;
    const fresh = !this.#compiled.has(images);
    const metrics = stepper.step(indices, learningRate, data);
    this.#pending.push({
      metrics,
      record: { step: trainer.stepsDone, epoch: epoch + 1, learningRate, images },
    });
    if (fresh) await trainer.device.finish();
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
      await this.#audience.step(record);
      const bad = record.losses.findIndex((loss) => !Number.isFinite(loss));
      if (bad < 0) continue;
      const { name } = this.#parts.trainer.setup.partition.modules[bad];
      const what = `the loss of module ${bad + 1} (${name}) became ${
        record.losses[bad]
      } in step ${record.step}`;
      throw diverged(what, record.learningRate);
    }
    await breathe();
    this.#drained = this.#breathed = performance.now();
  }

  /** Evaluates, saves, and tells. */
  async #evaluate(epoch: number): Promise<void> {
    const { trainer, keepBest, evaluator } = this.#parts;
    const { error, topFiveError, loss } = this.#last = await evaluator.evaluate(trainer.variables);
    const best = trainer.bestError === undefined || error < trainer.bestError;
    if (best && Number.isFinite(loss)) keepBest(error);
    // What is wrong with a tensor says more than what it does to the loss.
    const snapshot = this.#audience.keeps || !Number.isFinite(loss) ? await this.#snapshot() : undefined;
    if (!Number.isFinite(loss)) {
      throw diverged(
        `the test loss became ${loss} after step ${trainer.stepsDone}, epoch ${epoch + 1}`,
        this.#learningRate!,
      );
    }
    if (this.#audience.empty) return;
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
    // The last one last: killed in between, the run goes on from before this epoch and writes both again.
    await this.#audience.epoch(record, snapshot, best ? ["best", "last"] : ["last"]);
    this.#mark();
  }

  #held(): HeldMemory {
    const { trainer, dataBytes } = this.#parts;
    const { backend } = trainer.device;
    const driver = backend.driverMemory?.();
    return { bytes: backend.liveBytes, dataBytes, ...(driver === undefined ? {} : { driver }) };
  }

  /** Whether it is time to save within an epoch. */
  #due(): boolean {
    const { saveEvery, trainer } = this.#parts;
    if (saveEvery === undefined || !this.#audience.keeps) return false;
    return "steps" in saveEvery
      ? trainer.stepsDone % saveEvery.steps === 0
      : performance.now() - this.#saved >= saveEvery.minutes * 60_000;
  }

  /** Saves the state as it is, where that was not done already. */
  async #save(): Promise<void> {
    if (!this.#audience.keeps || this.#savedStep === this.#parts.trainer.stepsDone) return;
    await this.#audience.save(await this.#snapshot(), ["last"]);
    this.#mark();
  }

  #mark(): void {
    this.#saved = performance.now();
    this.#savedStep = this.#parts.trainer.stepsDone;
  }

  /** The state as it is; refuses one that holds what is no number. */
  async #snapshot(): Promise<Snapshot> {
    const { trainer } = this.#parts;
    const snapshot = await trainer.snapshot();
    refuseDiverged(snapshot, trainer.setup.modules, this.#learningRate);
    return snapshot;
  }

  /** How the streamed images of the epoch kept up; nothing for those that lie on the device. */
  #loading(): Pick<EpochRecord, "loading"> {
    const [before, now] = [this.#made, this.#parts.feed.made];
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

  #free(): void {
    disposeTree(this.#pending.splice(0).map(({ metrics }) => metrics));
  }
}
