import { correct, crossEntropies } from "../local/losses.ts";
import { categorize } from "../local/memory.ts";
import { activationsIn, productsIn } from "../local/precision.ts";
import type { Setup, TrainState } from "../local/setup.ts";
import { network } from "../models/model.ts";
import type { Layer } from "../nn/layer.ts";
import { type Named, select } from "../nn/named.ts";
import { type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { jit } from "../runtime/jit.ts";
import { iota, oneHot, stack, where } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { Feed, Order } from "./feed.ts";

/** How good a network is on a set of images. */
export interface Evaluation {
  /** The fraction classified wrongly. */
  readonly error: number;
  /** The fraction whose class is not among the five most likely; only where there are more than ten classes. */
  readonly topFiveError?: number;
  /** Mean cross-entropy. */
  readonly loss: number;
  /** How many images it was judged on. */
  readonly images: number;
}

/** A network as used after training: running statistics, no auxiliary networks; sums over `count` images of a batch. */
function judge(net: Layer, feed: Feed, dtype: "f32" | "bf16") {
  return (
    { params, state }: { params: Named<Tensor>; state: Named<Tensor> },
    data: Named<Tensor>,
    indices: Tensor,
    count: Tensor,
  ): Tensor => {
    const { x, labels } = feed.batch(data, indices);
    const logits = net.apply(params, state, x.cast(dtype), "evaluate").y;
    // Places beyond `count` only fill the batch up.
    const real = iota(indices.shape, 0, "f32").lt(count);
    const sums = [crossEntropies(logits, labels), correct(logits, labels)];
    if (logits.shape[1] > FEW_CLASSES) sums.push(amongFive(logits.cast("f32"), labels));
    return stack(sums.map((each) => where(real, each, 0).sum()));
  };
}

/** 1 where fewer than five other logits are as high as the label's; what is no number is not. */
function amongFive(logits: Tensor, labels: Tensor): Tensor {
  const classes = logits.shape[1];
  const atLabel = oneHot(labels, classes).gt(0); // a logit of another class may be −∞
  const own = where(atLabel, logits, 0).sum(1, { keepDims: true });
  return logits.lt(own).cast("f32").sum(1).gt(classes - 5.5).cast("f32");
}

/** With so many classes or fewer, five guesses say little. */
const FEW_CLASSES = 10;

/** Judges a network on the images of a feed, again and again; compiled once. */
export class Evaluator implements Disposable {
  readonly #net: Layer;
  readonly #feed: Feed;
  readonly #batch: number;
  readonly #classes: number;
  readonly #run;

  /** Prepares to judge a network in batches of `batch` images, in the precision it is trained in. */
  constructor({ model, precision }: Pick<Setup, "model" | "precision">, feed: Feed, batch: number) {
    this.#net = network(model);
    this.#feed = feed;
    this.#batch = Math.min(batch, feed.count);
    this.#classes = model.classes;
    const traced = judge(this.#net, feed, activationsIn(precision));
    this.#run = jit(traced, { name: "evaluation", categorize, ...productsIn(precision) });
  }

  /** Judges these parameters. The last batch is filled up with images that do not count. */
  async evaluate(train: TrainState<DeviceArray>): Promise<Evaluation> {
    const variables = {
      params: select(train.params, this.#net.params),
      state: select(train.state, this.#net.state),
    };
    const { count } = this.#feed;
    const sums: DeviceArray[] = [];
    try {
      let loss = 0, right = 0, five = 0, from = 0;
      for await (const { indices, data } of this.#feed.supply(this.#orders())) {
        const here = Math.min(this.#batch, count - from);
        sums.push(this.#run(variables, data, indices, here));
        from += here;
        if (sums.length < READ_EVERY && from < count) continue;
        for (const [l, r, f] of await Promise.all(sums.map((sum) => sum.read()))) {
          loss += l;
          right += r;
          five += f ?? 0;
        }
        disposeTree(sums.splice(0));
        await breathe();
      }
      const topFive = this.#classes > FEW_CLASSES ? { topFiveError: (count - five) / count } : {};
      return { error: (count - right) / count, ...topFive, loss: loss / count, images: count };
    } finally {
      disposeTree(sums);
    }
  }

  /** The images in batches, the last one filled up. */
  *#orders(): Generator<Order> {
    const { count } = this.#feed;
    for (let from = 0; from < count; from += this.#batch) {
      yield {
        indices: Uint32Array.from({ length: this.#batch }, (_, i) => from + i < count ? from + i : 0),
      };
    }
  }

  /** Frees what was compiled. */
  [Symbol.dispose](): void {
    this.#run.dispose();
  }
}

/** Batches between readbacks: each readback costs about 11 ms on WebGPU. */
const READ_EVERY = 16;

/** Lets the event loop run, so that signals, timers and workers get their turn between steps. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
