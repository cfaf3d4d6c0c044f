import { at } from "../base/at.ts";
import { type Loss, lossOfEach, plainLossOf } from "../local/loss.ts";
import { absoluteErrors, correct, countedPositions, squaredErrors } from "../local/losses.ts";
import { categorize } from "../local/memory.ts";
import { activationsIn, productsIn } from "../local/precision.ts";
import type { Setup } from "../local/setup.ts";
import { isDense, network, regresses, segments } from "../models/model.ts";
import type { Layer } from "../nn/layer.ts";
import { type Named, select } from "../nn/named.ts";
import { type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { jit } from "../runtime/jit.ts";
import { concat, full, iota, oneHot, stack, where } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { BatchRequest, Feed } from "./feeds/feed.ts";
import {
  type ClassScore,
  confusions,
  type EvaluateOptions,
  meanIoU,
  type Metric,
  pixelScores,
  scores,
  valuesOf,
} from "./metric.ts";
import type { NetworkVariables } from "../predict/predictor.ts";
import { Team } from "./processes/team.ts";

/** Result of evaluating a network on a set of images. */
export interface Evaluation {
  /** Fraction classified wrongly, of images, pixels or tokens; of a regression, the mean squared error. */
  readonly error: number;
  /**
   * Of a segmentation, the mean over its classes of intersection over union; classes that neither occur nor were found do
   * not count. Neither do ignored pixels, here and in the error; nor ignored tokens there.
   */
  readonly meanIoU?: number;
  /** Mean squared error over inputs and outputs, of a regression. */
  readonly meanSquaredError?: number;
  /** Mean absolute error over inputs and outputs, of a regression. */
  readonly meanAbsoluteError?: number;
  /**
   * Fraction whose class is not among the five most likely; for networks of more than ten classes, or if `topFive` was
   * asked for.
   */
  readonly topFiveError?: number;
  /** Mean loss, by the setup's `loss` and its weights: by default cross-entropy. */
  readonly loss: number;
  /** Number of images evaluated. */
  readonly images: number;
  /** The score of each class, by label, if `perClass` was asked for. */
  readonly perClass?: readonly ClassScore[];
  /**
   * The number of images, pixels or tokens of each class (rows) by the class they were taken for (columns), if `confusion` was
   * asked for.
   * Images whose logits hold a NaN were taken for none.
   */
  readonly confusion?: readonly (readonly number[])[];
  /** The mean of each metric of one's own, by name. */
  readonly metrics?: { readonly [name: string]: number };
}

/**
 * Evaluates the first `count` images of a batch: sums of their losses, weights and correct predictions, then what else is
 * wanted. The network runs as after training: running statistics, no auxiliary networks.
 */
function evaluation(net: Layer, feed: Feed, dtype: "f32" | "bf16", loss: Loss, wanted: Wanted) {
  return (
    { params, state }: { params: Named<Tensor>; state: Named<Tensor> },
    data: Named<Tensor>,
    indices: Tensor,
    count: Tensor,
  ): Tensor => {
    const { x, labels } = feed.batch(data, indices);
    const logits = net.apply(params, state, x.cast(dtype), "evaluate").y;
    // Images beyond `count` are padding.
    const real = iota(indices.shape, 0, "f32").lt(count);
    const weights = loss.weights?.(labels) ?? full(indices.shape, 1);
    const sums = [lossOfEach(loss, logits, labels), weights];
    const counted = wanted.dense ? countedPositions(labels, wanted.classes, loss.ignored) : undefined;
    if (wanted.regression) sums.push(squaredErrors(logits, labels), absoluteErrors(logits, labels));
    else if (counted !== undefined) {
      sums.push(sumOfEach(correct(logits, labels).mul(counted)), sumOfEach(counted));
    } else sums.push(correct(logits, labels));
    const flat = () => [logits.cast("f32").reshape(labels.size, -1), labels.reshape(labels.size)] as const;
    if (wanted.five) {
      const among = amongFive(...flat());
      sums.push(counted === undefined ? among : sumOfEach(among.reshape(...labels.shape).mul(counted)));
    }
    for (const metric of wanted.own) sums.push(valuesOf(metric, logits, labels));
    const totals = stack(sums.map((each) => where(real, each, 0).sum()));
    if (!wanted.matrix) return totals;
    const confusion = counted === undefined ? confusions(logits.cast("f32"), labels, real) : confusions(
      ...flat(),
      counted.gt(0).reshape(indices.size, -1).and(real.reshape(-1, 1)).reshape(labels.size),
    );
    return concat([totals, confusion.reshape(confusion.size)]);
  };
}

/** The sum over the positions of each input: `[batch]`. */
function sumOfEach(values: Tensor): Tensor {
  return values.reshape(at(values.shape, 0), -1).sum(1);
}

/** What an evaluation reports beside the error and the loss. */
interface Wanted {
  readonly classes: number;
  readonly regression: boolean;
  readonly segmentation: boolean;
  /** True where an input has a label for each position. */
  readonly dense: boolean;
  /** A confusion matrix, to report or to compute others from. */
  readonly matrix: boolean;
  readonly five: boolean;
  readonly perClass: boolean;
  readonly confusion: boolean;
  readonly own: readonly Metric[];
}

/** 1 if fewer than five other logits are as high as the label's, else 0; NaN logits count as wrong. */
function amongFive(logits: Tensor, labels: Tensor): Tensor {
  const classes = classesOf(logits);
  const atLabel = oneHot(labels, classes).gt(0); // another class may have a logit of −∞
  const own = where(atLabel, logits, 0).sum(1, { keepDims: true });
  return logits.lt(own).cast("f32").sum(1).gt(classes - 5.5).cast("f32");
}

/** Number of classes of logits `[batch, classes]`. */
function classesOf({ shape }: Tensor): number {
  return at(shape, 1);
}

/** Up to this many classes the top-five error says little. */
const FEW_CLASSES = 10;

/** Images that are evaluated at once: as many as a micro-batch of training has, whose memory is planned for. */
export function atOnce({ accumulate = 1 }: Pick<Setup, "accumulate">, batch: number): number {
  return Math.ceil(batch / accumulate);
}

/** Evaluates a network on the images of a feed. It is compiled once and can run many times. */
export class Evaluator implements Disposable {
  readonly #net: Layer;
  readonly #feed: Feed;
  readonly #batch: number;
  readonly #classes: number;
  readonly #wanted: Wanted;
  readonly #team: Team;
  readonly #run;

  /** Prepares to evaluate in batches of `batch` images, which processes divide, in the precision of training. */
  constructor(
    { model, precision, loss = plainLossOf(model) }: Pick<Setup, "model" | "precision" | "loss">,
    feed: Feed,
    batch: number,
    { metrics = [] }: EvaluateOptions = {},
    team: Team = new Team(),
  ) {
    this.#team = team;
    this.#net = network(model);
    this.#feed = feed;
    this.#batch = Math.min(batch, feed.count);
    this.#classes = model.classes;
    const regression = regresses(model);
    const segmentation = segments(model);
    const wanted = this.#wanted = {
      classes: model.classes,
      regression,
      segmentation,
      dense: isDense(model),
      matrix: segmentation || metrics.includes("perClass") || metrics.includes("confusion"),
      five: metrics.includes("topFive") ||
        (!regression && !segmentation && model.classes > FEW_CLASSES),
      perClass: metrics.includes("perClass"),
      confusion: metrics.includes("confusion"),
      own: metrics.filter((metric) => typeof metric !== "string"),
    };
    const traced = evaluation(this.#net, feed, activationsIn(precision), loss, wanted);
    this.#run = jit(traced, { name: "evaluation", categorize, ...productsIn(precision) });
  }

  /** Evaluates these parameters and statistics. */
  async evaluate({ params, state }: NetworkVariables<DeviceArray>): Promise<Evaluation> {
    const variables = {
      params: select(params, this.#net.params),
      state: select(state, this.#net.state),
    };
    const { count } = this.#feed;
    const batches = this.#batches();
    const found = new Map<number, Float32Array>();
    const sums: { readonly batch: number; readonly sum: DeviceArray }[] = [];
    try {
      let done = 0;
      for await (const { indices, data } of this.#feed.supply(this.#requests(batches))) {
        const batch = at(batches, done++);
        const images = Math.min(this.#batch, count - batch * this.#batch);
        sums.push({ batch, sum: this.#run(variables, data, indices, images) });
        if (sums.length < READ_EVERY && done < batches.length) continue;
        const read = sums.map(async ({ batch, sum }) => [batch, await sum.read("f32")] as const);
        for (const [batch, values] of await Promise.all(read)) found.set(batch, values);
        disposeTree(sums.splice(0).map(({ sum }) => sum));
        await breathe();
      }
      return this.#result(this.#totals(found), count);
    } finally {
      disposeTree(sums.map(({ sum }) => sum));
    }
  }

  /** The numbers of the batches that this process evaluates. */
  #batches(): number[] {
    const all = Array.from({ length: Math.ceil(this.#feed.count / this.#batch) }, (_, i) => i);
    return all.filter((batch) => batch % this.#team.size === this.#team.rank);
  }

  /**
   * The sums over the batches of all processes. Those of each batch are added in order, so that they do not depend on the
   * number of processes; the counts of a confusion matrix, which are many, are added by each process first.
   */
  #totals(found: ReadonlyMap<number, Float32Array>): number[] {
    const counts = new Float64Array(this.#wanted.matrix ? this.#classes ** 2 : 0);
    const plain = this.#sums;
    const all = new Float32Array(Math.ceil(this.#feed.count / this.#batch) * plain);
    for (const [batch, values] of found) {
      all.set(values.subarray(0, plain), batch * plain);
      values.subarray(plain).forEach((value, i) => counts[i] = at(counts, i) + value);
    }
    this.#team.sum(all);
    sumCounts(this.#team, counts);
    const totals = new Array<number>(plain).fill(0);
    all.forEach((value, i) => totals[i % plain] = at(totals, i % plain) + value);
    return [...totals, ...counts];
  }

  /** The number of sums of a batch, without a confusion matrix. */
  get #sums(): number {
    const { regression, dense, five, own } = this.#wanted;
    return 3 + (regression || dense ? 1 : 0) + (five ? 1 : 0) + own.length;
  }

  /** The result, from the sums over all images. */
  #result(totals: readonly number[], images: number): Evaluation {
    const { regression, segmentation, dense, matrix, five, perClass, confusion, own } = this.#wanted;
    const rest = totals.slice();
    const next = () => rest.shift() ?? NaN;
    const [loss, weight, score] = [next(), next(), next()];
    const positions = dense ? next() : images;
    const errors = regression
      ? { error: score / images, meanSquaredError: score / images, meanAbsoluteError: next() / images }
      : { error: shareOf(positions - score, positions) };
    const topFive = five ? { topFiveError: shareOf(positions - next(), positions) } : {};
    const metrics = Object.fromEntries(own.map(({ name }) => [name, next() / images]));
    const rows = Array.from(
      { length: matrix ? this.#classes : 0 },
      (_, label) => rest.slice(label * this.#classes, (label + 1) * this.#classes),
    );
    return {
      ...errors,
      ...(segmentation ? { meanIoU: meanIoU(rows) } : {}),
      ...topFive,
      loss: weight === 0 ? 0 : loss / weight,
      images,
      ...(perClass ? { perClass: segmentation ? pixelScores(rows) : scores(rows) } : {}),
      ...(confusion ? { confusion: rows } : {}),
      ...(own.length === 0 ? {} : { metrics }),
    };
  }

  /** These batches; the last of all is padded with image 0. */
  *#requests(batches: readonly number[]): Generator<BatchRequest> {
    const { count } = this.#feed;
    for (const batch of batches) {
      const from = batch * this.#batch;
      yield {
        indices: Uint32Array.from({ length: this.#batch }, (_, i) => from + i < count ? from + i : 0),
      };
    }
  }

  /** Frees the compiled programs. */
  [Symbol.dispose](): void {
    this.#run.dispose();
  }
}

/** A share; 0 of none. */
function shareOf(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

/** Sums counts over all processes, exactly: pixels are more than 32 bits count. */
function sumCounts(team: Team, counts: Float64Array): void {
  const low = Int32Array.from(counts, (count) => count % DIGIT);
  const high = Int32Array.from(counts, (count) => Math.floor(count / DIGIT));
  team.sum(low);
  team.sum(high);
  counts.forEach((_, i) => counts[i] = at(high, i) * DIGIT + at(low, i));
}

/** Leaves room to add the digits of 2,048 processes. */
const DIGIT = 2 ** 20;

/** Batches between readbacks: each readback costs about 11 ms on WebGPU. */
const READ_EVERY = 16;

/** Yields to the event loop, so that signals, timers and workers run between steps. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
