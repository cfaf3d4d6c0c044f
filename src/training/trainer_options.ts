import { LocalgradError } from "../base/errors.ts";
import { expectOptions, expectWhole, shown } from "../base/expect.ts";
import type { Precision } from "../compile/plan.ts";
import { expectRecompute, type Recompute } from "../compile/recomputation.ts";
import type { WeightAverage } from "../local/average.ts";
import type { Loss, LossFunction } from "../local/loss.ts";
import { batchesOf } from "../local/limit/options.ts";
import type { WayWithinLimit } from "../local/limit/limit.ts";
import type { Method } from "../local/method.ts";
import { type Exchange, expectExchange } from "../local/processes/exchange.ts";
import { expectMicroBatches } from "../local/micro_batches.ts";
import type { Modules } from "../local/partition/partition.ts";
import { type BatchNormStatistics, SETUP_KINDS } from "../local/setup.ts";
import type { Model } from "../models/model.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import * as cycles from "../optim/cycles.ts";
import * as schedules from "../optim/schedules.ts";
import { Device } from "../runtime/arrays.ts";

/** Options of `trainer`. */
export interface TrainerOptions {
  /** The device to train on. */
  device: Device;
  /** The network. */
  model: Model;
  /**
   * The cut: a count, the blocks to cut after, or balanced; default 1. End-to-end methods ignore it. With `memoryLimit` the
   * default is `"auto"`: the number of modules and their boundaries are chosen.
   */
  modules?: Modules | "auto";
  /** The method that trains the modules, such as `man(dgl())`; with `memoryLimit` also a list to choose from. */
  method: Method | readonly Method[];
  /** The rule that updates the parameters. */
  optimizer: Optimizer;
  /** The loss of the head and of local classifiers, see {@link SetupOptions.loss}; default softmax cross-entropy. */
  loss?: Loss | LossFunction;
  /** Keeps an average of the network's weights, which is evaluated, see {@link SetupOptions.average}; default none. */
  average?: WeightAverage;
  /**
   * Micro-batches that each step's batch is divided into, see {@link SetupOptions.accumulate}; default 1. With
   * `memoryLimit` `"auto"` chooses their number.
   */
  accumulate?: number | "auto";
  /** Over what batch norm takes its statistics where processes share each batch, see {@link BatchNormStatistics}. */
  batchNorm?: BatchNormStatistics;
  /** The learning rate by epoch or by step; default 0.1 throughout. */
  schedule?: schedules.Schedule;
  /** Precision of the arithmetic, see {@link SetupOptions.precision}; checkpoints are f32 whatever it is. */
  precision?: Precision;
  /** Images per step; with `memoryLimit` also a list to choose from, by the least predicted time of an image. */
  batch: number | readonly number[];
  /**
   * In a pipeline of processes (`devices.open(name, { processes })`), which state of the next process's first block MAN
   * averages, see {@link Exchange}: `exact`, that of the same step, whose results are those of one process, or `stale`, the
   * newest that has arrived. Default `exact`.
   */
  exchange?: Exchange;
  /** The depth of a pipeline's queues: the most batches whose features wait to be sent to the next process; default 1. */
  depth?: number;
  /** Seed of all random numbers of the run; default 0. */
  seed?: number;
  /**
   * What to recompute in the backward pass instead of keeping it in memory. `true`: cheap element-wise results (batch norm,
   * ReLU), if that lowers the planned peak; `{ limit }`: only so much, but also convolutions and products, that the plan,
   * without the data set, fits into this many bytes, or comes as close as it can. The results have the same bits. Default false.
   */
  recompute?: Recompute;
  /**
   * The most memory that a training step and the `reserve` may need, as planned: bytes or a size such as `"2GiB"`.
   * {@link withinLimit} then chooses what the other options leave open, `recompute` included, for the least predicted
   * time of a step; {@link Trainer.plan} tells what. Give `modules` and one method if results must not depend on the
   * limit: what is chosen then changes no bit of them. What `withinLimit` chose for the same network and device, given
   * instead of bytes, is taken as it is, and nothing is searched again. Default: no limit.
   */
  memoryLimit?: number | string | WayWithinLimit;
  /**
   * What of the `memoryLimit` is left to others on the device, such as the data set: `data.residentBytes(dataset)`. Bytes
   * or a size; default 0.
   */
  reserve?: number | string;
  /** Names the first op that produces a NaN or an infinity. Slow; default false. */
  checkNumerics?: boolean;
}

/** Refuses options of the wrong kind; `setup` checks its own more closely. */
export function checkTrainerOptions(options: TrainerOptions): void {
  expectOptions<Omit<TrainerOptions, "optimizer"> & { optimizer?: Optimizer }>("trainer", options, {
    ...SETUP_KINDS,
    optimizer: "object?",
    device: "object",
    schedule: "function?",
    batch: "any",
    exchange: "any?",
    depth: "number?",
    seed: "number?",
    recompute: "any?",
    memoryLimit: "any?",
    reserve: "any?",
    method: "any",
    accumulate: "any?",
    checkNumerics: "boolean?",
  });
  if (options.optimizer === undefined) {
    throw new LocalgradError("trainer: give an optimizer, such as optim.sgd()");
  }
  if (!(options.device instanceof Device)) {
    throw new LocalgradError(`trainer: the device must be of devices.open(), not ${shown(options.device)}`);
  }
  const maker = Object.entries<unknown>({ ...schedules, ...cycles }).find(([, make]) =>
    make === options.schedule
  );
  if (maker !== undefined) {
    throw new LocalgradError(`trainer: the function ${maker[0]} makes a schedule; call it: ${maker[0]}(…)`);
  }
  const batches = batchesOf("trainer", options.batch);
  expectRecompute("trainer", options.recompute ?? false);
  const { exchange = "exact", depth = 1 } = options;
  expectExchange("trainer", exchange);
  expectWhole("trainer: depth", depth);
  const { accumulate } = options;
  if (accumulate !== "auto") {
    for (const batch of batches) {
      expectMicroBatches("trainer", accumulate, batch);
    }
  }
}
