import type {
  BlockAge,
  EpochRecord,
  HeldMemory,
  Observer,
  RunInfo,
  Snapshot,
  StepRecord,
} from "../artifacts/observer.ts";
import type { Samples } from "../artifacts/samples.ts";
import { type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { Audience } from "./audience.ts";
import { diverged, refuseDiverged } from "./divergence.ts";
import { breathe, type Evaluation, type Evaluator } from "./evaluate.ts";
import { type EarlyStopping, patienceAfter } from "./early_stopping.ts";
import { Collector, type Elsewhere, type Measured, measured, recordOf } from "./measured.ts";
import { remarksOn } from "./remarks.ts";
import { Agreement, type Team } from "./team.ts";
import { Throughput } from "./throughput.ts";
import type { Position, Stepper, Trainable } from "./trainable.ts";
import type { TrainingFeed } from "./training_feed.ts";

/** Interval of saving within an epoch. */
export type SaveEvery = { readonly steps: number } | { readonly minutes: number };

/** The parts of a {@link Run}. */
export interface RunParts {
  readonly trainer: Trainable;
  readonly position: Position;
  readonly team: Team;
  readonly stepper: Stepper;
  /** Undefined if there is nothing to evaluate on. */
  readonly evaluator: Evaluator | undefined;
  readonly observers: readonly Observer[];
  readonly feed: TrainingFeed;
  readonly epochs: number;
  readonly evaluateEvery: number;
  readonly saveEvery?: SaveEvery | undefined;
  readonly earlyStopping?: EarlyStopping | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The names of the classes, by label; undefined for a regression. */
  readonly classNames: readonly string[] | undefined;
  /** The number of training images set aside to evaluate on, if any are. */
  readonly validationImages?: number | undefined;
  /** Bytes of the data set on the device. */
  readonly dataBytes: number;
}

/** An issued step whose losses have not been read. */
interface Pending {
  readonly metrics: DeviceArray;
  readonly record: Omit<StepRecord, "losses" | "accuracy" | "meanSquaredError">;
  /** What other processes measure in it. */
  readonly elsewhere: Elsewhere;
}

/** A step whose losses have been read, those of other processes perhaps not yet. */
interface Read extends Omit<Pending, "metrics"> {
  readonly own: Measured;
}

/** What a process asks the others for at a step. */
const GO = 0, SAVE = 1, STOP = 2;

const DRAIN_STEPS = 20;
const DRAIN_MS = 500;
const BREATHE_MS = 20;

/** A run in progress: issues steps, reads their losses in batches, evaluates, saves, and notifies the observers. */
export class Run {
  readonly #parts: RunParts;
  readonly #audience: Audience;
  /** The batches of all epochs in order, so that the first images of the next epoch are ready in time. */
  readonly #supply: ReturnType<TrainingFeed["batches"]>;
  readonly #throughput: Throughput;
  readonly #pending: Pending[] = [];
  readonly #read: Read[] = [];
  readonly #agreement: Agreement;
  readonly #collector: Collector;
  /** True if the state is to be saved, by process 0. */
  #keeps = false;
  /** True once this process has asked for a save that is not done yet. */
  #asked = false;
  /** Batch sizes whose step is compiled. */
  readonly #compiled = new Set<number>();
  #drained = performance.now();
  #breathed = performance.now();
  #saved = performance.now();
  #savedStep: number | undefined;
  /** Of the last step; undefined before the first. */
  #learningRate: number | undefined;
  #last: Evaluation | undefined;
  /** The step after which the network was last gathered from all processes. */
  #gathered: number | undefined;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#audience = new Audience(parts.observers);
    const { feed, position, epochs } = parts;
    this.#supply = feed.batches(position.step, epochs * feed.stepsPerEpoch);
    this.#throughput = new Throughput(feed.made);
    const { team } = parts;
    this.#collector = new Collector(team.pipeline);
    this.#agreement = new Agreement(team);
  }

  /** The last evaluation; undefined if there was none. */
  get last(): Evaluation | undefined {
    return this.#last;
  }

  /** True if the evaluations have not improved for as long as the patience lasts. */
  get stoppedEarly(): boolean {
    const { earlyStopping, position: { patience } } = this.#parts;
    return earlyStopping !== undefined && patience !== undefined &&
      patience.waited >= earlyStopping.patience;
  }

  /** Trains to the end, or until it is stopped early, and returns true, or false if the signal stopped it. The state is saved either way. */
  async train(): Promise<boolean> {
    const done = await this.#train();
    const { trainer, stepper } = this.#parts;
    stepper.finish();
    this.#agreement.finish();
    this.#collector.finish();
    if (this.#last === undefined || this.#gathered !== this.#parts.position.step) await trainer.gather();
    return done;
  }

  async #train(): Promise<boolean> {
    const { position, feed: { stepsPerEpoch }, epochs, evaluateEvery, evaluator } = this.#parts;
    await this.#start();
    for (let epoch = Math.floor(position.step / stepsPerEpoch); epoch < epochs; epoch++) {
      if (this.stoppedEarly) break;
      const whole = await this.#epoch(epoch);
      await this.#parts.trainer.verify();
      if (evaluator !== undefined && whole && ((epoch + 1) % evaluateEvery === 0 || epoch + 1 === epochs)) {
        await this.#evaluate(epoch, evaluator);
      } else await this.#save();
      this.#audience.raise();
      if (!whole) return false;
    }
    if (!this.#keeps) await this.#snapshot(); // refuses a diverged state
    return true;
  }

  /** Shows samples to the observers, if there are any. */
  async show(samples: () => Promise<Samples>): Promise<void> {
    if (!this.#audience.empty) await this.#audience.samples(await samples());
  }

  /** Cancels the steps in flight and notifies the observers of the end. */
  async end(reason: "done" | "stopped" | "failed"): Promise<void> {
    this.#free();
    const closed = this.#supply.return(undefined);
    await (reason === "failed" ? closed.catch(() => {}) : closed); // the error that ended the run says more
    await this.#audience.end(reason);
  }

  /** Throws the error that an observer threw at the end. */
  raise(): void {
    this.#audience.raise();
  }

  async #start(): Promise<void> {
    if (!this.#audience.empty) await this.#audience.start(this.#info());
    this.#keeps = this.#parts.team.most(this.#audience.keeps ? 1 : 0) > 0;
    // Saved at once, so that a run can be resumed from its first moment, and a save that fails does so before hours of
    // training. A resumed run may use another folder or other settings, which its checkpoint has to record.
    await this.#save();
    this.#audience.raise();
  }

  #info(): RunInfo {
    const { trainer, position, feed, epochs, classNames, validationImages } = this.#parts;
    return {
      configuration: trainer.configuration,
      epochs,
      stepsPerEpoch: feed.stepsPerEpoch,
      imagesPerEpoch: feed.imagesPerEpoch,
      firstStep: position.step,
      resumed: trainer.resumed,
      modules: trainer.setup.partition.modules.map((module) => module.name),
      memory: trainer.memory,
      devices: position.devices,
      ...(classNames === undefined ? {} : { classNames }),
      ...(validationImages === undefined ? {} : { validationImages }),
      ...remarksOn(trainer.schedule, epochs, feed.stepsPerEpoch),
    };
  }

  /** Trains for the rest of an epoch; false if the signal, or an observer that threw, stopped it. */
  async #epoch(epoch: number): Promise<boolean> {
    const { position, feed: { stepsPerEpoch } } = this.#parts;
    this.#throughput.reset();
    for (let left = stepsPerEpoch - position.step % stepsPerEpoch; left > 0; left--) {
      const agreed = this.#agreement.next(this.#asks());
      if (agreed === STOP || !await this.#issue(epoch)) {
        await this.#drain(true);
        return false;
      }
      // The state after the last step is saved after the evaluation, which a run resumed from it would skip.
      if (left > 1 && (agreed === SAVE || this.#due())) {
        await this.#drain(true);
        await this.#save();
      }
    }
    await this.#drain(true);
    return true;
  }

  /** What this process asks for at a step: to stop, or to save because it is time to. */
  #asks(): number {
    const { saveEvery, signal } = this.#parts;
    if (signal?.aborted || this.#audience.failed) return STOP;
    if (this.#asked || saveEvery === undefined || "steps" in saveEvery || !this.#audience.keeps) return GO;
    this.#asked = performance.now() - this.#saved >= saveEvery.minutes * 60_000;
    return this.#asked ? SAVE : GO;
  }

  /** Issues a step; false if the signal came while it waited for its batch. */
  async #issue(epoch: number): Promise<boolean> {
    const { trainer, position, stepper, feed: { stepsPerEpoch }, signal } = this.#parts;
    const learningRate = trainer.schedule(epoch, { step: position.step, stepsPerEpoch });
    this.#learningRate = learningRate;
    const before = performance.now();
    const { value: batch } = await this.#supply.next();
    if (batch === undefined) {
      if (signal?.aborted) return false;
      throw new Error("the feed supplied fewer batches than the run has steps");
    }
    const waited = performance.now() - before;
    const images = batch.indices.length;
    const fresh = !this.#compiled.has(images);
    const elsewhere = this.#collector.expect();
    const metrics = stepper.step(batch.indices, learningRate, batch.data);
    this.#pending.push({
      metrics,
      elsewhere,
      record: { step: position.step, epoch: epoch + 1, learningRate, images },
    });
    if (fresh) await trainer.device.finish();
    const now = performance.now();
    if (!fresh) this.#throughput.count(images, now - before, waited);
    this.#compiled.add(images);
    if (this.#pending.length >= DRAIN_STEPS || now - this.#drained > DRAIN_MS) await this.#drain();
    else if (now - this.#breathed > BREATHE_MS) {
      await breathe();
      this.#breathed = performance.now();
    }
    return true;
  }

  /**
   * Reads the pending losses and passes on those that are known of all modules; throws at the first that is NaN or infinite.
   * Of several processes the first does so, which waits for others only where all steps are wanted.
   */
  async #drain(all = false): Promise<void> {
    const before = performance.now();
    const { team, trainer: { setup } } = this.#parts;
    const { modules: { length: modules } } = team.division?.own ?? setup;
    const read = await Promise.all(this.#pending.map(async ({ metrics, ...rest }): Promise<Read> => {
      return { ...rest, own: measured(await metrics.read(), modules) };
    }));
    this.#throughput.count(0, performance.now() - before);
    this.#free();
    for (const { own } of read) this.#collector.send(own);
    this.#read.push(...read);
    for (let [first] = this.#read; first !== undefined; [first] = this.#read) {
      if (!all && !first.elsewhere.done()) break;
      this.#read.shift();
      if (!team.isFirst) continue;
      const { record, own, elsewhere } = first;
      const known = { ...record, ...recordOf(elsewhere.joined(own), setup.model, record.images) };
      await this.#audience.step(known);
      this.#refuseDiverged(known);
    }
    await breathe();
    this.#drained = this.#breathed = performance.now();
  }

  #refuseDiverged({ losses, gradientNorms, step, learningRate }: StepRecord): void {
    const { modules } = this.#parts.trainer.setup;
    for (const [what, values] of [["the loss", losses], ["the gradient norm", gradientNorms]] as const) {
      for (const { index, name } of values === undefined ? [] : modules) {
        const value = values?.[index];
        if (Number.isFinite(value)) continue;
        throw diverged(
          `${what} of module ${index + 1} (${name}) became ${value} in step ${step}`,
          learningRate,
        );
      }
    }
  }

  /** Evaluates, saves, and notifies the observers. */
  async #evaluate(epoch: number, evaluator: Evaluator): Promise<void> {
    const { trainer, position, earlyStopping } = this.#parts;
    await trainer.gather();
    this.#gathered = position.step;
    const evaluation = this.#last = await evaluator.evaluate(trainer.network());
    const { error, loss, images: _, ...others } = evaluation;
    const best = position.bestError === undefined || error < position.bestError;
    if (best && Number.isFinite(loss)) position.bestError = error;
    if (earlyStopping !== undefined) {
      position.patience = patienceAfter(earlyStopping, evaluation, position.patience);
    }
    // The tensor that diverged says more than the loss that it spoils, so it is looked for first.
    const snapshot = this.#keeps || !Number.isFinite(loss) ? await this.#snapshot() : undefined;
    if (!Number.isFinite(loss)) {
      throw diverged(
        `the test loss became ${loss} after step ${position.step}, epoch ${epoch + 1}`,
        this.#learningRate ?? 0,
      );
    }
    const staleness = this.#staleness();
    if (this.#audience.empty) {
      this.#mark(); // the first process saves: none saves this step again
      return;
    }
    const loading = this.#throughput.loading(this.#parts.feed.made);
    const record: EpochRecord = {
      epoch: epoch + 1,
      testError: error,
      testLoss: loss,
      ...others,
      imagesPerSecond: this.#throughput.imagesPerSecond,
      plannedPeakBytes: trainer.memory.method.peakBytes,
      held: this.#held(),
      best,
      ...(loading === undefined ? {} : { loading }),
      ...(staleness === undefined ? {} : { staleness }),
    };
    // `last` comes last: killed in between, the run resumes from before this epoch and writes both again.
    await this.#audience.epoch(record, snapshot, best ? ["best", "last"] : ["last"]);
    this.#mark();
  }

  /** The age of tracked blocks since the last call, in all processes; undefined unless the exchange is stale. */
  #staleness(): BlockAge | undefined {
    const { team, stepper } = this.#parts;
    if (team.division?.own.part?.staleEvery === undefined) return undefined;
    const { steps, sum, most } = stepper.staleness() ?? { steps: 0, sum: 0, most: 0 };
    const totals = Int32Array.of(steps, sum);
    team.sum(totals);
    const [count = 0, ages = 0] = totals;
    const oldest = team.most(most);
    return count === 0 ? undefined : { mean: ages / count, most: oldest };
  }

  #held(): HeldMemory {
    const { trainer, dataBytes } = this.#parts;
    const { backend } = trainer.device;
    const driver = backend.driverMemory?.();
    const residentBytes = backend.residentMemory?.();
    return {
      bytes: backend.liveBytes,
      dataBytes,
      ...(driver === undefined ? {} : { driver }),
      ...(residentBytes === undefined ? {} : { residentBytes }),
    };
  }

  /** True if a save within the epoch is due after this many steps. */
  #due(): boolean {
    const { saveEvery, position } = this.#parts;
    return this.#keeps && saveEvery !== undefined && "steps" in saveEvery &&
      position.step % saveEvery.steps === 0;
  }

  /** Saves the current state unless that was done. */
  async #save(): Promise<void> {
    if (!this.#keeps || this.#savedStep === this.#parts.position.step) return;
    await this.#audience.save(await this.#snapshot(), ["last"]);
    this.#mark();
  }

  #mark(): void {
    this.#saved = performance.now();
    this.#asked = false;
    this.#savedStep = this.#parts.position.step;
  }

  /** The current state; refuses one that holds a NaN or an infinity. Process 0 has all of it, and looks. */
  async #snapshot(): Promise<Snapshot> {
    const { trainer, team } = this.#parts;
    const snapshot = await trainer.snapshot();
    if (team.isFirst) refuseDiverged(snapshot, trainer.setup.modules, this.#learningRate);
    return snapshot;
  }

  #free(): void {
    disposeTree(this.#pending.splice(0).map(({ metrics }) => metrics));
  }
}
