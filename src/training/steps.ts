import { agreeOnExchanges } from "../backends/agreement.ts";
import { at } from "../base/at.ts";
import { expectBetween } from "../base/expect.ts";
import { effectsOf } from "../compile/collectives.ts";
import { stepScalars } from "../local/average.ts";
import type { Division } from "./processes/division.ts";
import type { Tracked } from "../local/processes/exchange.ts";
import type { Setup, TrainState } from "../local/setup.ts";
import { randomScalars } from "../local/randomness.ts";
import { type Share, shareOf } from "../local/processes/shares.ts";
import { trainStep } from "../local/step.ts";
import type { Named } from "../nn/named.ts";
import type { Scalars } from "../optim/optimizer.ts";
import { type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import type { JitOptions } from "../runtime/jit.ts";
import type { Tensor } from "../trace/tensor.ts";
import { type CompiledStep, compileStep, type Stepped } from "./compiled_step.ts";
import { augmentationKey, type BatchMaker, bytesIn, layerKey } from "./feeds/feed.ts";
import { type GivenBatch, type HostBatch, methodBatch, sharedBatch, type StepReport } from "./host_batch.ts";
import { Links } from "./processes/links.ts";
import { StaleBlocks } from "./processes/stale_blocks.ts";
import { measured, measuredByAll, recordOf } from "./measured.ts";
import type { Position, Stepper } from "./trainable.ts";

/** The training state on a device, and the compiled steps that replace it. */
export class Steps implements Disposable {
  readonly #setup: Setup;
  readonly #division: Division | undefined;
  readonly #links: Links;
  readonly #blocks: StaleBlocks;
  readonly #position: Position;
  readonly #compiling: JitOptions;
  #train: TrainState<DeviceArray>;
  #given: CompiledStep<[batch: GivenBatch, scalars: Scalars<Tensor>, tracked: Tracked]> | undefined;

  /** Takes over `train`; each step advances `position`. Of several processes, one trains its part of the division. */
  constructor(
    setup: Setup,
    position: Position,
    train: TrainState<DeviceArray>,
    compiling: JitOptions,
    division?: Division,
  ) {
    this.#setup = division?.own ?? setup;
    this.#division = division;
    this.#links = new Links(this.#setup, compiling.device);
    this.#blocks = new StaleBlocks(
      this.#setup.part,
      compiling.device,
      division?.processes.communicators,
    );
    this.#position = position;
    this.#train = train;
    const communicators = division?.processes.communicators;
    // Before the first step, so that processes whose programs differ do not wait for each other.
    this.#compiling = communicators === undefined ? compiling : {
      ...compiling,
      check: (program) => {
        const { data, modules } = communicators;
        agreeOnExchanges({ data, modules }, program.name, effectsOf(program));
      },
    };
  }

  /** The current parameters, state and optimizer slots. */
  get train(): TrainState<DeviceArray> {
    return this.#train;
  }

  /** Trains one step on a batch given by the caller. */
  async given(batch: HostBatch, learningRate: number): Promise<StepReport> {
    const step = this.#given ??= compileStep(
      (train, batch, scalars, tracked) => {
        const share = this.#shareOf(at(batch.x.shape, 0));
        const own = methodBatch(sharedBatch(batch, share));
        return trainStep(this.#setup, train, own, scalars, share, tracked);
      },
      { ...this.#compiling, name: "step" },
    );
    using metrics = this.#advance(
      learningRate,
      (train, scalars, tracked) => step(train, batch, scalars, tracked),
    );
    this.#finish();
    const { modules, model } = this.#setup;
    const own = measured(await metrics.read(), modules.length);
    const all = this.#division === undefined ? own : measuredByAll(own, this.#division);
    return recordOf(all, model, at(batch.x.shape, 0));
  }

  /** Compiled training steps on the images of a feed. */
  on(feed: BatchMaker): Stepper {
    const step = compileStep(
      (
        train,
        data: Named<Tensor>,
        indices: Tensor,
        augment: Tensor,
        scalars: Scalars<Tensor>,
        tracked: Tracked,
      ) => {
        const share = this.#shareOf(at(indices.shape, 0));
        const batch = feed.batch(data, indices, augment, share);
        return trainStep(this.#setup, train, batch, scalars, share, tracked);
      },
      { ...besideData(this.#compiling, feed), name: `${this.#setup.method.name} step` },
    );
    return {
      step: (indices, learningRate, data = feed.arrays) => {
        const augment = augmentationKey(this.#position.seed, this.#position.step);
        return this.#advance(
          learningRate,
          (train, scalars, tracked) => step(train, data, indices, augment, scalars, tracked),
        );
      },
      finish: () => this.#finish(),
      staleness: () => this.#blocks.measured(),
      [Symbol.dispose]: () => step.dispose(),
    };
  }

  /** This process's share of a batch, if processes share it. */
  #shareOf(images: number): Share | undefined {
    const { part } = this.#setup;
    return part && shareOf(images, part.layout.data, part.place.data);
  }

  /** Frees the state and the compiled steps, but not those on a feed. */
  [Symbol.dispose](): void {
    disposeTree(this.#train);
    this.#given?.dispose();
    this.#links[Symbol.dispose]();
    this.#blocks[Symbol.dispose]();
  }

  /** Receives what other processes still send. */
  #finish(): void {
    this.#links.close();
    this.#blocks.close();
  }

  /** Runs a step and returns its metrics. */
  #advance(
    learningRate: number,
    run: (
      train: TrainState<DeviceArray>,
      scalars: Scalars<number>,
      tracked: Tracked<DeviceArray>,
    ) => Stepped<DeviceArray>,
  ): DeviceArray {
    expectBetween("the learning rate", learningRate, 0);
    const { seed, step } = this.#position;
    const scalars = {
      ...stepScalars(this.#setup, step, learningRate),
      ...randomScalars(this.#setup, layerKey(seed, step)),
    };
    this.#links.open(this.#train);
    this.#blocks.before(this.#train, this.#position.step);
    const { train, metrics } = run(this.#train, scalars, this.#blocks.tracked);
    this.#train = train;
    this.#position.step++;
    this.#blocks.after(train, this.#position.step);
    return metrics;
  }
}

/** A limit is for the step alone: the data set, which is an input of the program too, comes on top. */
function besideData(compiling: JitOptions, feed: BatchMaker): JitOptions {
  const { recompute } = compiling;
  if (typeof recompute !== "object") return compiling;
  return { ...compiling, recompute: { ...recompute, limit: recompute.limit + bytesIn(feed) } };
}
