import type { Configuration, Patience, Snapshot } from "../artifacts/observer.ts";
import type { RunDevice } from "../artifacts/run_devices.ts";
import type { Key } from "../base/random.ts";
import type { Signature } from "../data/signature.ts";
import type { WayWithinLimit } from "../local/limit/limit.ts";
import type { MemoryComparison } from "../local/memory.ts";
import type { Setup } from "../local/setup.ts";
import type { Schedule } from "../optim/schedules.ts";
import type { NetworkVariables } from "../predict/predictor.ts";
import type { Device, DeviceArray } from "../runtime/arrays.ts";
import type { Staleness } from "./processes/stale_blocks.ts";
import type { BatchMaker, SuppliedBatch } from "./feeds/feed.ts";

/** Issues training steps on a feed. */
export interface Stepper extends Disposable {
  /**
   * Trains on the images at `indices` (u32 `[batch]`) and returns the loss of each module followed by the number of
   * images classified correctly, or the sum of squared errors of a regression, f32 `[modules + 1]`. `data` is what the feed supplied for them, if images are
   * streamed.
   */
  step(indices: Uint32Array, learningRate: number, data?: SuppliedBatch["data"]): DeviceArray;
  /** To be called after the last step, unless there was an error: receives what other processes still send. */
  finish(): void;
  /** With a stale exchange: how old the tracked block was in the steps since the last call. */
  staleness(): Staleness | undefined;
}

/** A trainer as `fit` drives it. */
export interface Trainable {
  readonly device: Device;
  readonly setup: Setup;
  readonly batch: number;
  readonly schedule: Schedule;
  readonly configuration: Configuration;
  readonly resumed: boolean;
  /** In a pipeline: gathers the network of all processes, for `network()`. */
  gather(): Promise<void>;
  network(): NetworkVariables<DeviceArray>;
  readonly memory: MemoryComparison;
  /** What was chosen within a memory limit; undefined without one. */
  readonly chosen: WayWithinLimit | undefined;
  stepper(feed: BatchMaker): Stepper;
  /** Compares the values of processes that share batches. */
  verify(): Promise<void>;
  snapshot(): Promise<Snapshot>;
  restore(snapshot: Snapshot): void;
}

/** A trainer's position in its run. A trainer advances `step`; `fit` sets the best figures and `signature`. */
export interface Position {
  /** The key that all random keys of the run are folded from. */
  readonly seed: Key;
  /** Training steps done. */
  step: number;
  /** The lowest test error so far, as a fraction; undefined before the first evaluation. */
  bestError: number | undefined;
  /** The highest mean IoU so far, of a segmentation; undefined before the first evaluation. */
  bestMeanIoU: number | undefined;
  /** The state of early stopping; undefined without it, or before the first evaluation. */
  patience: Patience | undefined;
  /** True once it was restored from a snapshot. */
  restored: boolean;
  /** True if weights were loaded that no snapshot replaced. */
  loaded: boolean;
  /** Class names and preprocessing of the images that it was last trained on, or that its weights came with. */
  signature: Signature | undefined;
  /** The names of the classes that it was last trained on, also of data that have no signature. */
  classNames: readonly string[] | undefined;
  /** The devices of the run, in order. */
  devices: readonly RunDevice[];
}
