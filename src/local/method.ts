import { LocalgradError } from "../base/errors.ts";
import { expectObject } from "../base/expect.ts";
import { type Block, classifiesTokens, type Model, regresses, segments } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import type { Layer } from "../nn/layer.ts";
import { expectLayer } from "../nn/layer.ts";
import { descend, type Named } from "../nn/named.ts";
import type { Shape } from "../trace/dtype.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { Module, Partition } from "./partition/partition.ts";

/** A batch, as the training step takes it. */
export interface Batch<T = Tensor> {
  /**
   * The network's input, f32: normalised images `[batch, height, width, channels]`, vectors `[batch, features]`, or tokens
   * `[batch, length]`.
   */
  readonly x: T;
  /**
   * The class of each image: i32 or u32 `[batch]`; of each pixel `[batch, height, width]`; of each token `[batch, length]`; of a
   * regression its values: f32 `[batch, outputs]`.
   */
  readonly labels: T;
  /** The same images, augmented but not normalised, in [0, 1]: the target of a decoder. */
  readonly images: T;
  /**
   * Of a batch whose images are mixed with others: the labels of those, and the share that each image keeps of itself, f32
   * `[]`.
   */
  readonly mixed?: { readonly labels: T; readonly share: T };
}

/** A batch with the loss that its logits are trained by. */
export interface TrainingBatch extends Batch {
  /** The loss of logits `[batch, classes]` of the whole batch, by the setup's `loss`: a scalar. */
  lossOf(logits: Tensor): Tensor;
  /**
   * A random key, u32[2], for the auxiliary network's own layers. There is one if these say that they are random, or layers of
   * the network are, such as dropout.
   */
  readonly key?: Tensor;
}

/** What a module takes from the module before it. */
export interface Given {
  /** Its output: this module's input. */
  readonly h: Tensor;
  /** The gradient of its loss there, if the method reconciles gradients. */
  readonly gradient?: Tensor | undefined;
  /** Inputs of modules, newest first, and the image, if the network has contexts that read them. */
  readonly earlier?: readonly Tensor[] | undefined;
}

/** The boundary between two modules, at which a local loss is computed. */
export interface Boundary {
  /** Its index, from 0; it follows the module of the same index. */
  readonly index: number;
  /** The number of boundaries. */
  readonly count: number;
  /** The requested number of modules, which may be one more than there are; see `partition`. */
  readonly requested: number;
  /** The network. */
  readonly model: Model;
  /** The module before it; the stem if it has no blocks. */
  readonly module: Module;
  /** The next block. */
  readonly next: Block;
  /** All blocks after the boundary, beginning with `next`. */
  readonly behind: readonly Block[];
  /** The number of blocks in each module after the boundary; absent while a balanced cut is being searched. */
  readonly following?: readonly number[];
  /** The shape of the features that the loss is computed from: `[height, width, channels]`, or `[features]`. */
  readonly features: Shape;
  /**
   * True if the features are the output of MAN's blocks rather than the module's own, because the method is wrapped in
   * `man` or `manPlusPlus`; published settings may differ. Default false.
   */
  readonly fused?: boolean;
}

/** Parameters and state of a block or of an auxiliary network. */
export interface Variables<T = Tensor> {
  /** Trained values. */
  readonly params: Named<T>;
  /** Values that are updated but not trained: running statistics, averages. */
  readonly state: Named<T>;
}

/** The variables of the block after a boundary, and of what comes later. */
export interface Following<T = Tensor> extends Variables<T> {
  /** What else follows, as far as this process trains it; absent where the next block is another process's. */
  readonly beyond?: {
    /** Returns the variables of a later block, by its name in the network. */
    block(name: string): Variables<T>;
    /** Returns the variables of the auxiliary network at a later boundary, by its index. */
    auxiliary(index: number): Variables<T>;
  };
}

/** An auxiliary network and the loss it computes at a boundary. */
export interface Auxiliary {
  /** Parameters, trained together with the module's. */
  readonly params: Named<Initial>;
  /** Values that are updated but not trained: running statistics, averages. */
  readonly state: Named<Initial>;
  /**
   * The number of blocks after the boundary whose variables it reads, or whose averages at later boundaries; default 1,
   * the next. Those beyond the next must be trained by the same process.
   */
  readonly reach?: number;
  /** True if a loss needs the batch's random key, as one by a head with dropout does; default false. */
  readonly random?: boolean;
  /**
   * Computes the loss, a scalar, of features `h` `[batch, …features]`, and the new state. Gradients flow to `params` and
   * `h`. `next` holds the next block's variables as they were at the start of the step. A classifier's loss is
   * `batch.lossOf(logits)`, the setup's `loss`.
   */
  loss(
    params: Named<Tensor>,
    state: Named<Tensor>,
    h: Tensor,
    batch: TrainingBatch,
    next: Following,
  ): { loss: Tensor; state: Named<Tensor> };
  /**
   * Computes a second loss, of the module alone, where a method trains modules in cascades: its gradient flows to `params`
   * and through `h` into the module before the boundary, no further. It gets the state that `loss` returned.
   */
  alone?(
    params: Named<Tensor>,
    state: Named<Tensor>,
    h: Tensor,
    batch: TrainingBatch,
    next: Following,
  ): { loss: Tensor; state: Named<Tensor> };
  /**
   * Returns the state after the module's backward pass and before its update. `next` holds the next block's variables as
   * they were at the start of the step.
   */
  follow?(state: Named<Tensor>, next: Following): Named<Tensor>;
  /** Returns parameters and state after the whole step, given those that the step left here and in the next block. */
  afterStep?(own: Variables, next: Following): Variables;
}

/** How a method trains neighbouring modules together. */
export interface Cascade {
  /** The modules that each local loss trains together: that before its boundary and those right before that one. */
  readonly modules: number;
  /** The weight of that loss; the loss of the module alone, {@link Auxiliary.alone}, has the rest. */
  readonly weight: number;
}

/**
 * A way to train a network: the auxiliary network and loss at each boundary between its modules. The last module is
 * trained by the network's own head and the setup's `loss`.
 *
 * @example
 * ```ts
 * import { local, models, nn, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * // The local loss: the maximum of each channel, a linear layer and cross-entropy.
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
  /** Its name, such as `man+dgl`. */
  readonly name: string;
  /** The options it was made with, as JSON. */
  readonly options: { readonly [name: string]: unknown };
  /** Makes the auxiliary network of a boundary. A method without it trains the network as one module, end to end. */
  readonly auxiliary?: (boundary: Boundary) => Auxiliary;
  /**
   * A term added to the loss of every module but the first: a function of two gradients at the boundary before it, of
   * the loss of the module before (`given`, which counts as a constant) and of its own, without the term (`own`). Both
   * have the shape of the features `[batch, …]`, and perhaps 16 bits. See `sgr`.
   */
  readonly reconcile?: (given: Tensor, own: Tensor) => Tensor;
  /**
   * Trains overlapping cascades of modules: the loss at each boundary, from the first that ends as many, trains several
   * modules together. Default: each loss trains the module before its boundary.
   */
  readonly cascade?: Cascade;
  /** Returns the network to train and to predict with, given its cut: with contexts. Default: the network itself. See `contSup`. */
  readonly supplied?: (model: Model, cut: Partition) => Model;
  /** Replaces the requested cut, where the method needs another; default: keeps it. See {@link withStem}. */
  readonly recut?: (model: Model, cut: Partition) => Partition;
}

/**
 * An auxiliary network of a head that gives logits, with the setup's `loss`, by default cross-entropy; its parameters
 * are under `classifier`.
 */
export function classified(head: Layer): Auxiliary {
  expectLayer("classified: the head", head);
  return {
    params: { classifier: head.params },
    state: { classifier: head.state },
    ...(head.random === true ? { random: true } : {}),
    loss(params, state, h, batch) {
      const { y, state: next } = head.apply(
        descend(params, "classifier"),
        descend(state, "classifier"),
        h,
        "train",
        batch.key,
      );
      return { loss: batch.lossOf(y), state: { classifier: next } };
    },
  };
}

/** Returns a method's auxiliary network at a boundary; refuses a method that has none. */
export function auxiliaryAt(method: Method, boundary: Boundary): Auxiliary {
  if (method.auxiliary === undefined) {
    throw new LocalgradError(`${method.name} has no local loss: it trains the network as one module`);
  }
  return method.auxiliary(boundary);
}

/** Refuses a regression where a loss compares classes; `what` begins the message. */
export function refuseRegression(what: string, model: Model): void {
  if (!regresses(model)) return;
  throw new LocalgradError(
    `${what} compares classes, which the regression ${model.name} has not; choose dgl() or greedy()`,
  );
}

/** Refuses labels of pixels or tokens where a method needs one label for each input; `what` begins the message. */
export function refuseDense(what: string, model: Model): void {
  if (classifiesTokens(model)) {
    throw new LocalgradError(
      `${what} needs one class for each input, and ${model.name} classifies tokens; choose greedy()`,
    );
  }
  if (!segments(model)) return;
  throw new LocalgradError(
    `${what} needs one class for each image, and ${model.name} labels pixels; choose dgl(), greedy() or infopro()`,
  );
}

/** Refuses a value that is not a method; `who` begins the message. */
export function expectMethod(who: string, method: Method): void {
  expectObject(`${who}: the method`, method, {
    name: "string",
    options: "object",
    auxiliary: "function?",
    reconcile: "function?",
    cascade: "object?",
    supplied: "function?",
    recut: "function?",
  });
}

/** Refuses a method that cannot be part of another: without a local loss, or with more than that; `who` begins the message. */
export function expectInner(who: string, method: Method): void {
  expectMethod(who, method);
  const { name, cascade, reconcile, auxiliary } = method;
  if (reconcile !== undefined) {
    throw new LocalgradError(
      `${who}: ${name} reconciles the gradients of neighbouring modules; it can wrap another method, as ` +
        "sgr(man(dgl())), but not be wrapped",
    );
  }
  if (auxiliary === undefined) {
    throw new LocalgradError(
      `${who}: ${name} has no local loss; wrap a method that has one, such as dgl() or infopro()`,
    );
  }
  if (cascade === undefined) return;
  throw new LocalgradError(
    `${who}: ${name} trains neighbouring modules together; it can wrap another method, as hpff(man(dgl())), but not be ` +
      "wrapped",
  );
}
