import { at } from "../base/at.ts";
import { type Loss, lossOfEach, plainLoss } from "../local/loss.ts";
import { correct } from "../local/losses.ts";
import { categorize } from "../local/memory.ts";
import { activationsIn, productsIn } from "../local/precision.ts";
import type { Setup } from "../local/setup.ts";
import { network } from "../models/model.ts";
import type { Layer } from "../nn/layer.ts";
import { type Named, select } from "../nn/named.ts";
import { type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { jit } from "../runtime/jit.ts";
import { full, iota, oneHot, stack, where } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { BatchRequest, Feed } from "./feed.ts";
import type { NetworkVariables } from "../predict/predictor.ts";

/** Result of evaluating a network on a set of images. */
export interface Evaluation {
  /** Fraction classified wrongly. */
  readonly error: number;
  /** Fraction whose class is not among the five most likely; only for networks of more than ten classes. */
  readonly topFiveError?: number;
  /** Mean loss, by the setup's `loss` and its weights: by default cross-entropy. */
  readonly loss: number;
  /** Number of images evaluated. */
  readonly images: number;
}

/**
 * Evaluates the first `count` images of a batch: sums of their losses, weights, correct predictions and, for many
 * classes, correct predictions among five. The network runs as after training: running statistics, no auxiliary networks.
 */
function evaluation(net: Layer, feed: Feed, dtype: "f32" | "bf16", loss: Loss) {
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
    const weights = loss.weights?.(labels) ?? full(labels.shape, 1);
    const sums = [lossOfEach(loss, logits, labels), weights, correct(logits, labels)];
    if (classesOf(logits) > FEW_CLASSES) sums.push(amongFive(logits.cast("f32"), labels));
    return stack(sums.map((each) => where(real, each, 0).sum()));
  };
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

/** Evaluates a network on the images of a feed. It is compiled once and can run many times. */
export class Evaluator implements Disposable {
  readonly #net: Layer;
  readonly #feed: Feed;
  readonly #batch: number;
  readonly #classes: number;
  readonly #run;

  /** Prepares to evaluate in batches of `batch` images, in the precision of training. */
  constructor(
    { model, precision, loss = plainLoss }: Pick<Setup, "model" | "precision" | "loss">,
    feed: Feed,
    batch: number,
  ) {
    this.#net = network(model);
    this.#feed = feed;
    this.#batch = Math.min(batch, feed.count);
    this.#classes = model.classes;
    const traced = evaluation(this.#net, feed, activationsIn(precision), loss);
    this.#run = jit(traced, { name: "evaluation", categorize, ...productsIn(precision) });
  }

  /** Evaluates these parameters and statistics. */
  async evaluate({ params, state }: NetworkVariables<DeviceArray>): Promise<Evaluation> {
    const variables = {
      params: select(params, this.#net.params),
      state: select(state, this.#net.state),
    };
    const { count } = this.#feed;
    const sums: DeviceArray[] = [];
    try {
      let loss = 0, weight = 0, right = 0, five = 0, from = 0;
      for await (const { indices, data } of this.#feed.supply(this.#requests())) {
        const images = Math.min(this.#batch, count - from);
        sums.push(this.#run(variables, data, indices, images));
        from += images;
        if (sums.length < READ_EVERY && from < count) continue;
        for (const [l = NaN, w = NaN, r = NaN, f = 0] of await Promise.all(sums.map((sum) => sum.read()))) {
          loss += l;
          weight += w;
          right += r;
          five += f;
        }
        disposeTree(sums.splice(0));
        await breathe();
      }
      const topFive = this.#classes > FEW_CLASSES ? { topFiveError: (count - five) / count } : {};
      return {
        error: (count - right) / count,
        ...topFive,
        loss: weight === 0 ? 0 : loss / weight,
        images: count,
      };
    } finally {
      disposeTree(sums);
    }
  }

  /** All images in batches; the last batch is padded with image 0. */
  *#requests(): Generator<BatchRequest> {
    const { count } = this.#feed;
    for (let from = 0; from < count; from += this.#batch) {
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

/** Batches between readbacks: each readback costs about 11 ms on WebGPU. */
const READ_EVERY = 16;

/** Yields to the event loop, so that signals, timers and workers run between steps. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
