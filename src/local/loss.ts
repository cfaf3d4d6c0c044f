import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectKind, expectObject, expectOptions, shown } from "../base/expect.ts";
import { type Model, regresses } from "../models/model.ts";
import { formatAval } from "../trace/dtype.ts";
import { concat, literal, oneHot } from "../trace/functions.ts";
import { Tensor } from "../trace/tensor.ts";
import { crossEntropies, squaredErrors } from "./losses.ts";
import type { Batch, TrainingBatch } from "./method.ts";

/**
 * A loss of each image: from logits `[batch, classes]` and labels i32 or u32 `[batch]` to f32 `[batch]`. Of a regression:
 * from the predicted values `[batch, outputs]` and the labels, f32 `[batch, outputs]`.
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
  /** The weight of each image, f32 `[batch]`: a batch's loss is divided by their sum. Default 1 for each. */
  readonly weights?: (labels: Tensor) => Tensor;
  /** The number of classes it is for; default any. */
  readonly classes?: number;
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
}

/**
 * Softmax cross-entropy with label smoothing and class weights, as PyTorch's `cross_entropy` defines them: an image
 * weighs as much as its class, a batch's loss is divided by the sum of those weights, and smoothed targets are weighted
 * by their own classes. A batch whose images all weigh 0 has a loss of 0.
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
  expectOptions("crossEntropyLoss", options, { labelSmoothing: "number?", classWeights: "array?" });
  const { labelSmoothing = 0, classWeights } = options;
  expectBetween("crossEntropyLoss: labelSmoothing", labelSmoothing, 0, 1);
  const weights = classWeights === undefined ? undefined : weightsFrom(classWeights);
  return {
    name: "crossEntropy",
    options: {
      ...(labelSmoothing === 0 ? {} : { labelSmoothing }),
      ...(weights === undefined ? {} : { classWeights: weights }),
    },
    each(logits, labels) {
      const plain = crossEntropies(logits, labels);
      const own = weights === undefined ? plain : plain.mul(weightOf(labels, weights));
      if (labelSmoothing === 0) return own;
      const z = logits.cast("f32");
      const [, classes = 1] = z.shape;
      const shifted = z.sub(z.max(1, { keepDims: true }).stopGradient());
      const surprise = shifted.exp().sum(1, { keepDims: true }).log().sub(shifted); // −log softmax
      const even = weights === undefined ? surprise : surprise.mul(row(weights));
      return own.mul(1 - labelSmoothing).add(even.sum(1).mul(labelSmoothing / classes));
    },
    ...(weights === undefined
      ? {}
      : { weights: (labels: Tensor) => weightOf(labels, weights), classes: weights.length }),
  };
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

/** The loss of a network without another: softmax cross-entropy, or the squared error of a regression. */
export function plainLossOf(model: Pick<Model, "task">): Loss {
  return regresses(model) ? squaredErrorLoss() : plainLoss;
}

/** Returns a loss, also from a function of the user's; refuses anything else, or one for another number of classes. */
export function lossFrom(
  who: string,
  given: Loss | LossFunction,
  model: Pick<Model, "name" | "classes" | "task">,
): Loss {
  if (typeof given === "function") return { name: given.name || "own", options: {}, each: given };
  expectKind(`${who}: the loss`, given, "object");
  expectObject(`${who}: the loss`, given, {
    name: "string",
    options: "object",
    each: "function",
    weights: "function?",
    classes: "number?",
  });
  if (regresses(model) && given.name === plainLoss.name) {
    throw new LocalgradError(
      `${who}: ${model.name} is a regression, and ${given.name} is a loss of classes; take squaredErrorLoss()`,
    );
  }
  const { classes } = model;
  if (given.classes === undefined || given.classes === classes) return given;
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

/** The loss of a batch: the weighted mean over its images, a scalar. */
export function meanLoss(loss: Loss, logits: Tensor, labels: Tensor): Tensor {
  const losses = lossOfEach(loss, logits, labels);
  if (loss.weights === undefined) return losses.mean();
  return losses.sum().div(loss.weights(labels).sum().maximum(1e-30)); // 0 where all weights are 0
}

/** Adds the loss to a batch. */
export function withLoss(batch: Batch, loss: Loss = plainLoss): TrainingBatch {
  const { labels } = batch;
  return {
    labels,
    get x(): Tensor { // not read by the later processes of a pipeline, which may have none
      return batch.x;
    },
    get images(): Tensor { // read only by methods that reconstruct images; others may have none
      return batch.images;
    },
    lossOf: (logits) => meanLoss(loss, logits, labels),
  };
}
