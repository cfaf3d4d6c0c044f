import type { EpochRecord, Snapshot } from "../artifacts/observer.ts";
import type { Samples } from "../artifacts/samples.ts";
import { Audience } from "./audience.ts";
import { diverged, refuseDiverged, refuseDivergedStep } from "./divergence.ts";
import { breathe, type Evaluation, type Evaluator } from "./evaluate.ts";
import { patienceAfter } from "./early_stopping.ts";
import { IssuedSteps } from "./issued_steps.ts";
import { blockAge, heldMemory, infoOf } from "./run_facts.ts";
import type { RunParts } from "./run_parts.ts";
import { Agreement } from "./processes/team.ts";
import type { Position } from "./trainable.ts";
import { Throughput } from "./throughput.ts";
import type { TrainingFeed } from "./feeds/training_feed.ts";

/** What a process asks the others for at a step. */
const GO = 0, SAVE = 1, STOP = 2;

const DRAIN_STEPS = 20;
const DRAIN_MS = 500;
const BREATHE_MS = 20;

/** True if no evaluation of the run was better: of a segmentation by its mean IoU, otherwise by its error. */
function isBest({ error, meanIoU }: Evaluation, { bestError, bestMeanIoU }: Position): boolean {
  if (meanIoU !== undefined) return bestMeanIoU === undefined || meanIoU > bestMeanIoU;
  return bestError === undefined || error < bestError;
}

/** Keeps the best figures so far. */
function setBest({ error, meanIoU }: Evaluation, position: Position): void {
  position.bestError = Math.min(position.bestError ?? Infinity, error);
  if (meanIoU !== undefined) position.bestMeanIoU = Math.max(position.bestMeanIoU ?? 0, meanIoU);
}

/** A run in progress: issues steps, reads their losses in batches, evaluates, saves, and notifies the observers. */
export class Run {
  readonly #parts: RunParts;
  readonly #audience: Audience;
  /** The batches of all epochs in order, so that the first images of the next epoch are ready in time. */
  readonly #supply: ReturnType<TrainingFeed["batches"]>;
  readonly #throughput: Throughput;
  readonly #issued: IssuedSteps;
  readonly #agreement: Agreement;
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
    this.#issued = new IssuedSteps(parts.team, parts.trainer.setup);
    this.#agreement = new Agreement(parts.team);
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
    this.#issued.finish();
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
    this.#issued[Symbol.dispose]();
    const closed = this.#supply.return(undefined);
    await (reason === "failed" ? closed.catch(() => {}) : closed); // the error that ended the run says more
    await this.#audience.end(reason);
  }

  /** Throws the error that an observer threw at the end. */
  raise(): void {
    this.#audience.raise();
  }

  async #start(): Promise<void> {
    if (!this.#audience.empty) await this.#audience.start(infoOf(this.#parts));
    this.#keeps = this.#parts.team.most(this.#audience.keeps ? 1 : 0) > 0;
    // Saved at once, so that a run can be resumed from its first moment, and a save that fails does so before hours of
    // training. A resumed run may use another folder or other settings, which its checkpoint has to record.
    await this.#save();
    this.#audience.raise();
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
    this.#issued.issue(() => {
      const metrics = stepper.step(batch.indices, learningRate, batch.data);
      return { metrics, record: { step: position.step, epoch: epoch + 1, learningRate, images } };
    });
    if (fresh) await trainer.device.finish();
    const now = performance.now();
    if (!fresh) this.#throughput.count(images, now - before, waited);
    this.#compiled.add(images);
    if (this.#issued.pending >= DRAIN_STEPS || now - this.#drained > DRAIN_MS) await this.#drain();
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
    await this.#issued.read();
    this.#throughput.count(0, performance.now() - before);
    for (const record of this.#issued.known(all)) {
      await this.#audience.step(record);
      refuseDivergedStep(record, this.#parts.trainer.setup.modules);
    }
    await breathe();
    this.#drained = this.#breathed = performance.now();
  }

  /** Evaluates, saves, and notifies the observers. */
  async #evaluate(epoch: number, evaluator: Evaluator): Promise<void> {
    const { trainer, position, earlyStopping, dataBytes } = this.#parts;
    await trainer.gather();
    this.#gathered = position.step;
    const evaluation = this.#last = await evaluator.evaluate(trainer.network());
    const { error, loss, images: _, ...others } = evaluation;
    const best = isBest(evaluation, position);
    if (Number.isFinite(loss)) setBest(evaluation, position);
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
    const staleness = blockAge(this.#parts);
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
      held: heldMemory(trainer.device, dataBytes),
      best,
      ...(loading === undefined ? {} : { loading }),
      ...(staleness === undefined ? {} : { staleness }),
    };
    // `last` comes last: killed in between, the run resumes from before this epoch and writes both again.
    await this.#audience.epoch(record, snapshot, best ? ["best", "last"] : ["last"]);
    this.#mark();
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
}
