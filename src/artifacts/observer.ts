import type { DriverMemory } from "../backends/backend.ts";
import type { Signature } from "../data/signature.ts";
import type { MemoryComparison } from "../local/memory.ts";
import type { HostArray } from "../trace/host_array.ts";
import type { RunDevice } from "./run_devices.ts";
import type { Samples } from "./samples.ts";

/** Configuration of a run as JSON: enough to tell whether a snapshot belongs to it. */
export type Configuration = { readonly [name: string]: unknown };

/** The state of early stopping: the best evaluation, and how many have passed since. */
export interface Patience {
  /** The lowest value of the metric, or the highest of one that should rise. */
  readonly best: number;
  /** Evaluations since then. */
  readonly waited: number;
  /** True of a metric that should rise, such as mean IoU. */
  readonly rising?: boolean;
}

/** Everything needed to resume a run. */
export interface Snapshot {
  /** Training steps done. With the seed in the configuration it gives epoch, permutation and random keys. */
  readonly step: number;
  /** The lowest test error so far, as a fraction; undefined before the first evaluation. */
  readonly bestError?: number;
  /** The highest mean IoU so far, of a segmentation; undefined in those of earlier versions too. */
  readonly bestMeanIoU?: number;
  /** The state of early stopping; undefined without it, or before the first evaluation. */
  readonly patience?: Patience;
  /**
   * Parameters, state and optimizer slots in localgrad's layouts (filters KRSC): `layer1.0.conv1.weight`,
   * `local.0.ema.conv1.weight`, `optimizer.momentum.layer1.0.conv1.weight`.
   */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Configuration of the run. */
  readonly configuration: Configuration;
  /** Class names and preprocessing of the network; undefined if it was never trained on a data set. */
  readonly signature?: Signature;
  /** The devices that computed it, in order; absent in those of earlier versions. */
  readonly devices?: readonly RunDevice[];
  /** Format of the checkpoint that it was read from, if that is an older one. */
  readonly format?: number;
}

/** A way to train, such as `man+dgl, 4 modules, recomputing`. */
export interface DescribedWay {
  /** The way, in words. */
  readonly description: string;
  /** The planned peak of its step, in bytes. */
  readonly peakBytes: number;
}

/** What was chosen within a memory limit. */
export interface Choice extends DescribedWay {
  /** The limit, in bytes. */
  readonly limit: number;
  /** What of it is left to others, such as the data set, in bytes; absent if nothing is. */
  readonly reserve?: number;
  /** The next faster way; undefined if none was found. */
  readonly next?: DescribedWay;
}

/** Facts known at the start of a run. */
export interface RunInfo {
  /** Configuration of the run. */
  readonly configuration: Configuration;
  /** Total number of epochs. */
  readonly epochs: number;
  /** Steps per epoch. */
  readonly stepsPerEpoch: number;
  /** Training images per epoch. */
  readonly imagesPerEpoch: number;
  /** Number of steps done before. */
  readonly firstStep: number;
  /** True if steps were done before, or the trainer was restored from a snapshot, even one of step 0. */
  readonly resumed: boolean;
  /** Blocks of each module, such as `layer1.0–layer1.2`. */
  readonly modules: readonly string[];
  /** Planned memory of a step, by the method and end to end. */
  readonly memory: MemoryComparison;
  /** What was chosen within the memory limit of a step, if there is one. */
  readonly choice?: Choice;
  /**
   * The devices of the run in order, this one last; more than one if it was resumed on another, whose last bits differ.
   * The first is missing if an earlier version began the run.
   */
  readonly devices?: readonly RunDevice[];
  /** The names of the classes, by label. */
  readonly classNames?: readonly string[];
  /** The number of training images set aside: those that the errors of the run are of, in place of test images. */
  readonly validationImages?: number;
  /** The name of the data set; absent in runs of earlier versions. */
  readonly dataset?: string;
  /** The highest learning rate of the schedule; absent in runs of earlier versions. */
  readonly learningRate?: number;
  /** Remarks on settings that were probably not meant, such as a warm-up longer than the run. */
  readonly remarks?: readonly string[];
}

/** Record of a training step. */
export interface StepRecord {
  /** Number of the step, from 1. */
  readonly step: number;
  /** Number of its epoch, from 1. */
  readonly epoch: number;
  /** The loss of each module. */
  readonly losses: readonly number[];
  /** Fraction of the batch that the network's own head classified correctly; undefined for a regression. */
  readonly accuracy?: number;
  /** Mean squared error of the batch, of a regression. */
  readonly meanSquaredError?: number;
  /** The norm of each module's gradients before they were clipped, if the optimizer clips by norm. */
  readonly gradientNorms?: readonly number[];
  /** The learning rate. */
  readonly learningRate: number;
  /** Images in the batch. */
  readonly images: number;
}

/** Loading of images that are made as needed, such as by decoding files. */
export interface Loading {
  /** Images that all threads together can make per second; training may use fewer. */
  readonly imagesPerSecond: number;
  /** Fraction of training time that steps waited for their images. */
  readonly waiting: number;
}

/** The age of the blocks that MAN averaged in an epoch, over processes with a stale exchange, in steps of training. */
export interface BlockAge {
  /** The mean over the steps of all processes. */
  readonly mean: number;
  /** That of the oldest. */
  readonly most: number;
}

/** Memory allocated on a device during a run: variables, the arena of all programs, and the data set. */
export interface HeldMemory {
  /** Total bytes. */
  readonly bytes: number;
  /** Bytes of the data set, which no plan of a step counts. */
  readonly dataBytes: number;
  /** The driver's count, on devices that have one. */
  readonly driver?: DriverMemory;
  /**
   * Bytes of the whole process that are resident in memory, on the CPU: all of the above, JavaScript's heap, compiled
   * code, decoded images, and what oneDNN allocates for itself.
   */
  readonly residentBytes?: number;
}

/** Record of an epoch after which the network was evaluated. */
export interface EpochRecord {
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** Fraction of the test images, or of their pixels, classified wrongly; of a regression, the mean squared error. */
  readonly testError: number;
  /** The mean over all classes of intersection over union, of a segmentation. */
  readonly meanIoU?: number;
  /** Mean squared error over test inputs and outputs, of a regression. */
  readonly meanSquaredError?: number;
  /** Mean absolute error over test inputs and outputs, of a regression. */
  readonly meanAbsoluteError?: number;
  /** Fraction whose class is not among the five most likely, for many classes or if asked for. */
  readonly topFiveError?: number;
  /** Mean loss over the test images, by the trainer's `loss`: by default cross-entropy. */
  readonly testLoss: number;
  /** The score of each class, by label, if asked for. */
  readonly perClass?: readonly {
    readonly images: number;
    readonly recall?: number;
    readonly precision?: number;
    readonly iou?: number;
  }[];
  /** Test images of each class (rows) by the class they were taken for (columns), if asked for. */
  readonly confusion?: readonly (readonly number[])[];
  /** Metrics of one's own, by name. */
  readonly metrics?: { readonly [name: string]: number };
  /** Training images per second, without evaluation. */
  readonly imagesPerSecond: number;
  /** Planned peak memory of a training step, in bytes. */
  readonly plannedPeakBytes: number;
  /** Measured memory of the device after the epoch. */
  readonly held: HeldMemory;
  /** Loading of streamed images; undefined for images that are resident on the device. */
  readonly loading?: Loading;
  /** The age of the blocks that MAN averaged; only of processes with a stale exchange. */
  readonly staleness?: BlockAge;
  /** True if the test error is the lowest so far, or of a segmentation the mean IoU the highest. */
  readonly best: boolean;
}

/**
 * Observer of a run, such as a folder of records or a progress bar. Each method is optional and is awaited. Observers
 * that save are notified before those that do not. If one throws, it is notified of nothing but the end; the run stops
 * after the current step, saves through the others, notifies all of the end, and throws the error.
 */
export interface Observer {
  /** Called before the first step. */
  start?(info: RunInfo): void | Promise<void>;
  /** Called for each step, in order; for several at once, because losses are read back in batches. */
  step?(record: StepRecord): void | Promise<void>;
  /** Called after each evaluation: by default after each epoch, see `evaluateEvery` of `fit`. */
  epoch?(record: EpochRecord): void | Promise<void>;
  /**
   * Called at the start of a run; after each epoch, after its record; within epochs as `saveEvery` of `fit` says; and
   * when the run is stopped. The kinds are `last`, and `best` too if the record says so. The state never holds a NaN or an infinity.
   */
  save?(snapshot: Snapshot, kinds: readonly ("last" | "best")[]): void | Promise<void>;
  /** Called after the last epoch of a run, if `samples` of `fit` asks for them. */
  samples?(samples: Samples): void | Promise<void>;
  /** Called when the run ends, also after an error. */
  end?(reason: "done" | "stopped" | "failed"): void | Promise<void>;
}
