import { expectObject } from "../base/expect.ts";
import type { Block, Model } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import type { Layer } from "../nn/layer.ts";
import { expectLayer } from "../nn/layer.ts";
import type { Named } from "../nn/named.ts";
import type { Shape } from "../trace/dtype.ts";
import type { Tensor } from "../trace/tensor.ts";
import { crossEntropy } from "./losses.ts";
import type { Module, Partition } from "./partition.ts";

/** A batch as the training step sees it. */
export interface Batch<T = Tensor> {
  /** Normalised images `[batch, height, width, channels]`, f32: what the network takes. */
  readonly x: T;
  /** The class of each image: i32 or u32 `[batch]`. */
  readonly labels: T;
  /** The same images, augmented but not normalised, in [0, 1]: what a decoder reconstructs. */
  readonly images: T;
}

/** A place between two modules, where a local loss is to be computed. */
export interface Boundary {
  /** Its place, from 0; it lies after the module of the same index. */
  readonly index: number;
  /** How many boundaries there are. */
  readonly count: number;
  /** How many modules were asked for; may be one more than there are, see `partition`. */
  readonly requested: number;
  /** The network. */
  readonly model: Model;
  /** The module before it. One without blocks is the stem. */
  readonly module: Module;
  /** The block that follows. */
  readonly next: Block;
  /** All blocks that follow, `next` the first of them. */
  readonly behind: readonly Block[];
  /** The features that the loss is computed from: `[height, width, channels]`. */
  readonly features: Shape;
  /** The method this one is wrapped in, if any, whose published settings may differ. */
  readonly within?: "man" | "manPlusPlus";
}

/** Parameters and what goes with them, of a block or of what hangs on a boundary. */
export interface Variables<T = Tensor> {
  /** What is trained. */
  readonly params: Named<T>;
  /** What is carried along: running statistics, averages. */
  readonly state: Named<T>;
}

/** What hangs on a boundary: an auxiliary network and a loss. */
export interface Auxiliary {
  /** What is trained with the module. */
  readonly params: Named<Initial>;
  /** What is carried along: running statistics, averages. */
  readonly state: Named<Initial>;
  /**
   * The loss (a scalar) of features `h` `[batch, …features]`, and the state after it. Gradients flow to `params` and
   * `h`; the block that follows, `next`, is seen as it was when the step began.
   */
  loss(
    params: Named<Tensor>,
    state: Named<Tensor>,
    h: Tensor,
    batch: Batch,
    next: Variables,
  ): { loss: Tensor; state: Named<Tensor> };
  /**
   * The state after the module's backward pass, given the block that follows as it was when the step began. Called
   * before this module's update.
   */
  follow?(state: Named<Tensor>, next: Variables): Named<Tensor>;
  /** Parameters and state after the whole step, given those that it left, here and in the block that follows. */
  afterStep?(own: Variables, next: Variables): Variables;
}

/**
 * A way to train a network: what hangs on each boundary between its modules. The last module is trained by the
 * network's own head and cross-entropy.
 *
 * @example
 * ```ts
 * import { local, models, nn, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * // Each module is judged by the largest value of each channel, a linear layer and cross-entropy.
 * const brightest: local.Method = {
 *   name: "brightest",
 *   options: {},
 *   auxiliary: ({ features: [, , channels], model }) =>
 *     local.classified(nn.sequential({
 *       max: nn.stateless((x) => x.max([1, 2])),
 *       fc: nn.linear({ in: channels, out: model.classes }),
 *     })),
 * };
 * const model = models.resnet8();
 * const { modules } = local.setup({ model, modules: 3, method: brightest, optimizer: optim.sgd() });
 * assertEquals(Object.keys(modules[1].params), ["layer2", "local"]);
 * ```
 */
export interface Method {
  /** What to call it, such as `man+dgl`. */
  readonly name: string;
  /** What it was made with, as JSON. */
  readonly options: { readonly [name: string]: unknown };
  /** What hangs on a boundary. A method without it trains the network as one module, end to end. */
  readonly auxiliary?: (boundary: Boundary) => Auxiliary;
  /** Another cut than the one asked for, where the method needs one; default: that one. See {@link withStem}. */
  readonly recut?: (model: Model, cut: Partition) => Partition;
}

/** A head that gives logits, judged by cross-entropy; its parameters are kept under `classifier`. */
export function classified(head: Layer): Auxiliary {
  expectLayer("classified: the head", head);
  return {
    params: { classifier: head.params },
    state: { classifier: head.state },
    loss(params, state, h, batch) {
      const { y, state: next } = head.apply(
        params["classifier"] as never,
        state["classifier"] as never,
        h,
        "train",
      );
      return { loss: crossEntropy(y, batch.labels), state: { classifier: next } };
    },
  };
}

/** Refuses what is no method; `who` begins the message. */
export function expectMethod(who: string, method: Method): void {
  expectObject(`${who}: the method`, method, {
    name: "string",
    options: "object",
    auxiliary: "function?",
    recut: "function?",
  });
}
