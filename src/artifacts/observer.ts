import type { DriverMemory } from "../backends/backend.ts";
import type { MemoryComparison } from "../local/memory.ts";
import type { HostArray } from "../trace/host_array.ts";

/** What a run is, as JSON: enough to tell whether a snapshot belongs to it. */
export type Configuration = { readonly [name: string]: unknown };

/** Everything needed to go on with a run. */
export interface Snapshot {
  /** Training steps done. With the seed in the configuration it gives epoch, permutation and random keys. */
  readonly step: number;
  /** The lowest test error so far, as a fraction; undefined before the first evaluation. */
  readonly bestError?: number;
  /**
   * Parameters, state and optimizer slots in localgrad's layouts (filters KRSC): `layer1.0.conv1.weight`,
   * `local.0.ema.conv1.weight`, `optimizer.momentum.layer1.0.conv1.weight`.
   */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** What run it is of. */
  readonly configuration: Configuration;
}

/** What a run begins with. */
export interface RunInfo {
  /** What it is. */
  readonly configuration: Configuration;
  /** Epochs in all. */
  readonly epochs: number;
  /** Steps of each. */
  readonly stepsPerEpoch: number;
  /** Training images of each. */
  readonly imagesPerEpoch: number;
  /** Steps done before. */
  readonly firstStep: number;
  /** Whether the run goes on: steps were done before, or the trainer was restored from a snapshot, be it of step 0. */
  readonly resumed: boolean;
  /** The blocks of each module, such as `layer1.0–layer1.2`. */
  readonly modules: readonly string[];
  /** The planned memory of a step, by the method and end to end. */
  readonly memory: MemoryComparison;
}

/** One training step. */
export interface StepRecord {
  /** Which, from 1. */
  readonly step: number;
  /** Its epoch, from 1. */
  readonly epoch: number;
  /** The loss of each module. */
  readonly losses: readonly number[];
  /** The fraction of the batch that the network's own head classified correctly. */
  readonly accuracy: number;
  /** The learning rate. */
  readonly learningRate: number;
  /** Images in the batch. */
  readonly images: number;
}

/** How images that are made as needed, such as decoded from files, keep up with training. */
export interface Loading {
  /** Images made per second with all threads at work: what they could give, whether it is used or not. */
  readonly imagesPerSecond: number;
  /** The share of training time in which a step had to wait for its images. */
  readonly waiting: number;
}

/** What a device holds in the middle of a run: variables, the arena of all programs, and the data set. */
export interface HeldMemory {
  /** All of it, in bytes. */
  readonly bytes: number;
  /** The data set's share, which no plan of a step counts. */
  readonly dataBytes: number;
  /** The same by the driver's count, on devices that have one. */
  readonly driver?: DriverMemory;
}

/** An epoch that the network was judged after. */
export interface EpochRecord {
  /** Which, from 1. */
  readonly epoch: number;
  /** The fraction of test images classified wrongly. */
  readonly testError: number;
  /** The fraction whose class is not among the five most likely; only where there are more than ten classes. */
  readonly topFiveError?: number;
  /** Mean cross-entropy over the test images. */
  readonly testLoss: number;
  /** Training images per second, evaluation apart. */
  readonly imagesPerSecond: number;
  /** The planned peak memory of a training step, in bytes. */
  readonly plannedPeakBytes: number;
  /** What the device really holds after the epoch. */
  readonly held: HeldMemory;
  /** How streamed images kept up with training; undefined for those that lie on the device. */
  readonly loading?: Loading;
  /** Whether the test error is the lowest so far. */
  readonly best: boolean;
}

/**
 * Something that watches a run: a folder of records, a progress bar. Each method may be left out and is awaited.
 * Observers that save are told of everything before those that do not. One that throws is told nothing more but the
 * end; the run stops after the step it is at, has the others save its state, tells all of the end, and throws the error.
 */
export interface Observer {
  /** Before the first step. */
  start?(info: RunInfo): void | Promise<void>;
  /** After each step, in order; several at a time, because losses are read back in batches. */
  step?(record: StepRecord): void | Promise<void>;
  /** After each evaluation: by default after each epoch, see `evaluateEvery` of `fit`. */
  epoch?(record: EpochRecord): void | Promise<void>;
  /**
   * At the start of a fresh run; after each epoch, behind its record; within epochs as `saveEvery` of `fit` says; and
   * when the run is stopped: `last`, and `best` too where it is. Never a state that holds a NaN or an infinity.
   */
  save?(snapshot: Snapshot, kinds: readonly ("last" | "best")[]): void | Promise<void>;
  /** When the run ends, whichever way; also after an error. */
  end?(reason: "done" | "stopped" | "failed"): void | Promise<void>;
}
