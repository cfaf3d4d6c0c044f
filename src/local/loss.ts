import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectKind, expectObject, expectOptions, shown } from "../base/expect.ts";
import { classifiesTokens, IGNORED, isDense, type Model, regresses, segments } from "../models/model.ts";
import { formatAval, type Shape } from "../trace/dtype.ts";
import { concat, full, literal, oneHot, where } from "../trace/functions.ts";
import { Tensor } from "../trace/tensor.ts";
import { crossEntropies, squaredErrors } from "./losses.ts";
import type { Batch, TrainingBatch } from "./method.ts";

/**
 * A loss of each image: from logits `[batch, classes]` and labels i32 or u32 `[batch]` to f32 `[batch]`. Of a regression:
 * from the predicted values `[batch, outputs]` and the labels, f32 `[batch, outputs]`; of a segmentation: from logits
 * `[batch, height, width, classes]` and labels i32 `[batch, height, width]`; of tokens: from logits
 * `[batch, length, classes]` and labels i32 `[batch, length]`.
 */
export type LossFunction = (logits: Tensor, labels: Tensor) => Tensor;

/** The loss that a network's head and the classifiers of local losses are trained by. */
export interface Loss {
  /** Its name, as configurations and messages show it. */
  readonly name: string;
  /** The options it was made with, as JSON. */
  readonly options: { readonly [name: string]: unknown };
  /** The loss of each image, times its weight. */
  readonly each: LossFunction;
  /**
   * The weight of each image, f32 `[batch]`: a batch's loss is divided by their sum, that of the whole batch where
   * micro-batches or processes divide it. Default 1 for each.
   */
  readonly weights?: (labels: Tensor) => Tensor;
  /** The number of classes it is for; default any. */
  readonly classes?: number;
  /** The label that counts as none, which measures of pixels and tokens leave out too; default none. */
  readonly ignored?: number;
}

/** Options of {@link crossEntropyLoss}. */
export interface CrossEntropyOptions {
  /**
   * The share of the target that is spread evenly over all classes, at least 0 and below 1 (Szegedy et al., 2016,
   * arXiv 1512.00567); default 0.
   */
  labelSmoothing?: number;
  /** The weight of each class, at least 0, such as 1 / its frequency; default 1 each. */
  classWeights?: readonly number[];
  /** A label that counts as none, as PyTorch's `ignore_index`; default none. A segmentation ignores 255 besides. */
  ignored?: number;
}

/**
 * Softmax cross-entropy with label smoothing, class weights and an ignored label, as PyTorch's `cross_entropy` defines
 * them: an image weighs as much as its class, a batch's loss is divided by the sum of those weights, and smoothed targets
 * are weighted by their own classes. Of a segmentation, the same holds for each pixel, of a language model for each token. A
 * batch whose images, pixels or tokens all weigh 0, or are all ignored, has a loss of 0, where PyTorch's is NaN.
 *
 * @throws {LocalgradError} if the smoothing or a weight is out of range, or all weights are 0.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertThrows } from "@std/assert";
 *
 * const loss = local.crossEntropyLoss({ labelSmoothing: 0.1, classWeights: [1, 1, 5] });
 * const options = { modules: 3, method: local.dgl(), optimizer: optim.sgd(), loss };
 * local.setup({ ...options, model: models.resnet8({ classes: 3 }) });
 * assertThrows(() => local.setup({ ...options, model: models.resnet8({ classes: 10 }) }), Error, "3 class weights");
 * ```
 */
export function crossEntropyLoss(options: CrossEntropyOptions = {}): Loss {
  return made(options, []);
}

/** Makes the losses of {@link crossEntropyLoss} that ignore 255 besides: those of label maps. */
const ofMaps = new WeakMap<Loss, () => Loss>();

/** {@link crossEntropyLoss}, with labels that count as none besides that of the options. */
function made(options: CrossEntropyOptions, besides: readonly number[]): Loss {
  expectOptions("crossEntropyLoss", options, {
    labelSmoothing: "number?",
    classWeights: "array?",
    ignored: "number?",
  });
  const { labelSmoothing = 0, classWeights, ignored } = options;
  expectBetween("crossEntropyLoss: labelSmoothing", labelSmoothing, 0, 1);
  if (ignored !== undefined && !Number.isInteger(ignored)) {
    throw new LocalgradError(`crossEntropyLoss: ignored must be a whole number, not ${shown(ignored)}`);
  }
  const classes = classWeights === undefined ? undefined : weightsFrom(classWeights);
  const none = [...new Set([...(ignored === undefined ? [] : [ignored]), ...besides])];
  const isCounted = (labels: Tensor) =>
    none.map((label) => labels.cast("i32").ne(label)).reduce<Tensor | undefined>(
      (all, one) => all?.and(one) ?? one,
      undefined,
    );
  const weigh = (labels: Tensor): Tensor => {
    const own = classes === undefined ? full(labels.shape, 1) : weightOf(labels, classes);
    return counting(own, isCounted(labels));
  };
  // Without either, all images and positions weigh the same, and need no weights.
  const weighted = classes !== undefined || none.length > 0;
  const [first] = none;
  const loss: Loss = {
    name: "crossEntropy",
    options: {
      ...(labelSmoothing === 0 ? {} : { labelSmoothing }),
      ...(classes === undefined ? {} : { classWeights: classes }),
      ...(first === undefined ? {} : { ignored: first }),
    },
    each(logits, labels) {
      const flat = labels.reshape(labels.size);
      const z = logits.rank === 2 ? logits : logits.reshape(labels.size, -1);
      const plain = crossEntropies(z, flat);
      const own = classes === undefined ? plain : plain.mul(weightOf(flat, classes));
      const all = labelSmoothing === 0 ? own : smoothed(own, z, labelSmoothing, classes);
      const losses = perImage(counting(all, isCounted(flat)), labels.shape);
      const positions = labels.size / at(labels.shape, 0);
      return weighted || positions === 1 ? losses : losses.mul(1 / positions);
    },
    ...(weighted
      ? { weights: (labels: Tensor) => perImage(weigh(labels.reshape(labels.size)), labels.shape) }
      : {}),
    ...(classes === undefined ? {} : { classes: classes.length }),
    ...(first === undefined ? {} : { ignored: first }),
  };
  ofMaps.set(loss, () => made(options, [IGNORED]));
  return loss;
}

/** The sum over the pixels of each image, or the tokens of each input: `[batch]`. */
function perImage(values: Tensor, [batch = 1]: Shape): Tensor {
  return values.size === batch ? values : values.reshape(batch, -1).sum(1);
}

/** Values, with 0 in place of those that are not counted, even of one that is not finite. */
function counting(values: Tensor, counted: Tensor | undefined): Tensor {
  return counted === undefined ? values : where(counted, values, 0);
}

/** Spreads a share of the target over all classes, each with its own weight. */
function smoothed(
  losses: Tensor,
  logits: Tensor,
  share: number,
  weights: readonly number[] | undefined,
): Tensor {
  const z = logits.cast("f32");
  const [, classes = 1] = z.shape;
  const shifted = z.sub(z.max(1, { keepDims: true }).stopGradient());
  const surprise = shifted.exp().sum(1, { keepDims: true }).log().sub(shifted); // −log softmax
  const even = (weights === undefined ? surprise : surprise.mul(row(weights))).sum(1);
  return losses.mul(1 - share).add(even.mul(share / classes));
}

function weightsFrom(given: readonly number[]): readonly number[] {
  const weights = [...given];
  const wrong = weights.findIndex((weight) =>
    !(typeof weight === "number" && weight >= 0 && weight < Infinity)
  );
  if (wrong >= 0) {
    throw new LocalgradError(
      `crossEntropyLoss: the weight of class ${wrong} must be a number of at least 0, not ${
        shown(weights[wrong])
      }`,
    );
  }
  if (weights.every((weight) => weight === 0)) {
    throw new LocalgradError("crossEntropyLoss: all class weights are 0; give at least one class a weight");
  }
  return weights;
}

/** The weight of each label's class: f32 `[batch]`. */
function weightOf(labels: Tensor, weights: readonly number[]): Tensor {
  return oneHot(labels, weights.length).mul(row(weights)).sum(1);
}

/** The most elements of a literal. */
const LITERAL = 1024;

/** Weights as f32 `[1, classes]`. */
function row(weights: readonly number[]): Tensor {
  const pieces: Tensor[] = [];
  for (let from = 0; from < weights.length; from += LITERAL) {
    pieces.push(literal(weights.slice(from, from + LITERAL)));
  }
  return concat(pieces).reshape(1, weights.length);
}

/**
 * Mean squared error between the outputs and the labels, over images and outputs, as PyTorch's `mse_loss`. Labels are f32
 * `[batch, outputs]`, of a regression, or classes, which stand for their one-hot row.
 *
 * @example
 * ```ts
 * import { devices, jit, local, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const { each } = local.squaredErrorLoss();
 * using losses = jit((z: Tensor, labels: Tensor) => each(z, labels), { device })(
 *   device.array([1, 0, 0, 3], [2, 2]),
 *   Int32Array.of(0, 1),
 * );
 * assertEquals([...await losses.read()], [0, 2]); // (3 − 1)² over two classes
 * ```
 */
export function squaredErrorLoss(): Loss {
  return {
    name: "squaredError",
    options: {},
    each(outputs, labels) {
      const target = labels.dtype === "f32" ? labels : oneHot(labels, outputs.shape[1] ?? 1);
      return squaredErrors(outputs, target);
    },
  };
}

/** The loss of a setup without another: softmax cross-entropy. */
export const plainLoss: Loss = crossEntropyLoss();

/**
 * The loss of a network without another: softmax cross-entropy, of a segmentation over the pixels whose label is not 255,
 * or the squared error of a regression.
 */
export function plainLossOf(model: Pick<Model, "task">): Loss {
  if (segments(model)) return crossEntropyLoss({ ignored: IGNORED });
  return regresses(model) ? squaredErrorLoss() : plainLoss;
}

/**
 * Returns a loss, also from a function of the user's, and of a segmentation one that ignores 255; refuses anything else, or
 * one for another number of classes.
 */
export function lossFrom(
  who: string,
  given: Loss | LossFunction,
  model: Pick<Model, "name" | "classes" | "task" | "summary">,
): Loss {
  if (typeof given === "function") return { name: given.name || "own", options: {}, each: given };
  expectKind(`${who}: the loss`, given, "object");
  expectObject(`${who}: the loss`, given, {
    name: "string",
    options: "object",
    each: "function",
    weights: "function?",
    classes: "number?",
    ignored: "number?",
  });
  if (isDense(model) && given.name === squaredErrorLoss().name) {
    const what = classifiesTokens(model) ? "classifies tokens" : "labels pixels";
    throw new LocalgradError(
      `${who}: ${model.name} ${what}, and ${given.name} is a loss of whole images; take crossEntropyLoss()`,
    );
  }
  if (regresses(model) && given.name === plainLoss.name) {
    throw new LocalgradError(
      `${who}: ${model.name} is a regression, and ${given.name} is a loss of classes; take squaredErrorLoss()`,
    );
  }
  const { classes } = model;
  if (given.classes === undefined || given.classes === classes) {
    return segments(model) ? ofMaps.get(given)?.() ?? given : given;
  }
  throw new LocalgradError(`${who}: ${given.classes} class weights for a network of ${classes} classes`);
}

/** The loss of each image of a batch, f32 `[batch]`; refuses what a user's function returns if it is not that. */
export function lossOfEach({ name, each }: Loss, logits: Tensor, labels: Tensor): Tensor {
  const losses: unknown = each(logits, labels);
  if (losses instanceof Tensor && losses.rank === 1 && losses.shape[0] === labels.shape[0]) {
    return losses.cast("f32");
  }
  throw new LocalgradError(
    `the loss ${name} must return one loss for each image, [${labels.shape[0]}], not ${
      losses instanceof Tensor ? formatAval(losses) : shown(losses)
    }; localgrad takes their mean`,
  );
}

/** The mean weight of an image in a whole batch, and of those that are mixed in, if any: f32 scalars. */
export interface BatchWeights {
  readonly own: Tensor;
  readonly mixed?: Tensor;
}

/**
 * The loss of a batch: the weighted mean over its images, a scalar. Of a part of a batch with the mean weight of an image
 * in the whole one, the mean of all parts by their images is the whole batch's: a part is not divided by its own weights.
 */
export function meanLoss(loss: Loss, logits: Tensor, labels: Tensor, weight?: Tensor): Tensor {
  const losses = lossOfEach(loss, logits, labels);
  if (loss.weights === undefined) return losses.mean();
  const weights = weight?.mul(at(labels.shape, 0)) ?? loss.weights(labels).sum();
  return losses.sum().div(weights.maximum(1e-30)); // 0 where all weights are 0
}

/** Adds the loss to a batch, or to a part of a batch of these weights. */
export function withLoss(batch: Batch, loss: Loss = plainLoss, weights?: BatchWeights): TrainingBatch {
  const { labels, mixed } = batch;
  return {
    labels,
    ...(mixed === undefined ? {} : { mixed }),
    get x(): Tensor { // not read by the later processes of a pipeline, which may have none
      return batch.x;
    },
    get images(): Tensor { // read only by methods that reconstruct images; others may have none
      return batch.images;
    },
    lossOf(logits) {
      const own = meanLoss(loss, logits, labels, weights?.own);
      if (mixed === undefined) return own;
      const other = meanLoss(loss, logits, mixed.labels, weights?.mixed);
      return own.mul(mixed.share).add(other.mul(mixed.share.neg().add(1)));
    },
  };
}
