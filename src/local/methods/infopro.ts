import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole } from "../../base/expect.ts";
import { type ImageInput, imageInput, type Model, segments } from "../../models/model.ts";
import type { Layer } from "../../nn/layer.ts";
import { imageExtents } from "../../nn/image.ts";
import type { Initial } from "../../nn/initial.ts";
import { descend, merge, type Named, nest } from "../../nn/named.ts";
import type { Shape } from "../../trace/dtype.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { type ClassifierName, decoder, isLarge } from "../heads/heads.ts";
import { patchesOf } from "../heads/patches.ts";
import { classifierFor } from "../heads/pixel_heads.ts";
import { binaryCrossEntropy, supervisedContrastive } from "../losses.ts";
import {
  type Auxiliary,
  type Boundary,
  type Method,
  refuseDense,
  refuseRegression,
  type TrainingBatch,
} from "../method.ts";
import { type TermWeights, weightsAt, type WeightSchedule, type WeightsName } from "./infopro_weights.ts";
import { type LossTerm, sumOfLosses } from "./sum_of_losses.ts";

/** Options of {@link infopro}. */
export interface InfoProOptions {
  /** The task term: the setup's `loss`, by default softmax cross-entropy, or the supervised contrastive loss on 128 features; default `crossEntropy`. */
  task?: "crossEntropy" | "contrastive";
  /**
   * The images of a batch over which the contrastive loss is averaged: `all`, the default, as in the published code,
   * where the only image of its class counts with a loss of 0; or `paired`, those that share their class with another.
   */
  anchors?: "all" | "paired";
  /** The network of the task term; default `1c2f`, `2c2f` when wrapped in MAN, `imagenet` for large images, `fcn` of pixels. */
  classifier?: ClassifierName;
  /**
   * The weights of the terms, or the data set whose published weights are used; default: those published for the data
   * set with images of the network's size, the network and K.
   */
  weights?: TermWeights | WeightsName;
  /**
   * The schedule of weights from the first boundary to the last; default `index`. `stage` is that of MAN's published
   * code, for which the default weights are MAN's: 5 → 0 and 0.5 → 0.
   */
  schedule?: WeightSchedule;
  /**
   * Divides features and image into n×n patches, each with a decoder of its own (HPFF's patch feature fusion). The losses of
   * the decoders add up, so that reconstruction counts n² times; the classifier takes whole features. Default 1.
   */
  patches?: number;
}

const CONTRASTIVE_FEATURES = 128;

/** Channels to which the published decoder for DeepLabV3 narrows its features. */
const SEGMENTATION_WIDTH = 128;

/**
 * InfoPro (Wang et al., 2021, arXiv 2101.10832): each module keeps information about the image, by reconstructing it
 * (binary cross-entropy of a decoder, weight λ1), and about the label (weight λ2). A term of weight 0 has no network.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const { modules } = local.setup({
 *   model: models.resnet32(),
 *   modules: 8,
 *   method: local.infopro({ weights: { reconstruction: [5, 0.5], task: [0.5, 1] } }),
 *   optimizer: optim.sgd(),
 * });
 * assertEquals(Object.keys(modules[0].auxiliary!.params), ["decoder", "classifier"]);
 * ```
 */
export function infopro(options: InfoProOptions = {}): Method {
  expectOptions("infopro", options, {
    task: "string?",
    anchors: "string?",
    classifier: "string?",
    weights: "any?",
    schedule: "any?",
    patches: "number?",
  });
  const { task = "crossEntropy", anchors = "all", classifier, weights, schedule = "index", patches = 1 } =
    options;
  expectWhole("infopro: patches", patches);
  if (task !== "crossEntropy" && task !== "contrastive") {
    throw new LocalgradError(
      `infopro: there is no task term ${JSON.stringify(task)}; choose "crossEntropy" or "contrastive"`,
    );
  }
  if (anchors !== "all" && anchors !== "paired") {
    throw new LocalgradError(
      `infopro: there are no anchors ${JSON.stringify(anchors)}; choose "all" or "paired"`,
    );
  }
  if (options.anchors !== undefined && task !== "contrastive") {
    throw new LocalgradError(
      'infopro: anchors belong to the contrastive task term; choose task: "contrastive" or leave anchors out',
    );
  }
  return {
    name: "infopro",
    options: {
      task,
      ...(task === "contrastive" ? { anchors } : {}),
      ...(classifier === undefined ? {} : { classifier }),
      ...(weights === undefined ? {} : { weights }),
      schedule: typeof schedule === "function" ? "own" : schedule,
      ...(patches === 1 ? {} : { patches }),
    },
    auxiliary: (boundary) => auxiliary(boundary, options),
  };
}

/** One term of the loss: its network, kept under its name, and the weighted loss of that network's result. */
interface Term {
  readonly name: string;
  readonly layer: Layer;
  /** Returns the part of the features that the network takes. */
  of(h: Tensor): Tensor;
  loss(y: Tensor, batch: TrainingBatch): Tensor;
}

function auxiliary(boundary: Boundary, options: InfoProOptions): Auxiliary {
  const parts = termsOf(boundary, options);
  return {
    params: merge<Initial>(...parts.map(({ name, layer }) => nest(name, layer.params))),
    state: merge<Initial>(...parts.map(({ name, layer }) => nest(name, layer.state))),
    loss(params, state, h, batch) {
      const states: Named<Tensor>[] = [];
      const terms = parts.map(({ name, layer, of, loss }): LossTerm => ({
        params: descend(params, name),
        loss(params, h) {
          const { y, state: next } = layer.apply(params, descend(state, name), of(h), "train");
          states.push(nest(name, next));
          return loss(y, batch);
        },
      }));
      return { loss: sumOfLosses(h, terms), state: merge(...states) };
    },
  };
}

/** The images to reconstruct; vectors cannot be, because they are not in [0, 1]. */
function decoded(model: Model): ImageInput {
  return imageInput(
    "infopro: reconstructs images; choose weights: { reconstruction: [0, 0], … } or dgl()",
    model,
  );
}

/** The network of the task term where none was chosen. */
function usual(features: Shape, model: Model, fused: boolean): ClassifierName {
  const { input } = model;
  if (segments(model)) return "fcn";
  if (features.length < 3) return "0c2f"; // vectors and tokens
  return isLarge(input) ? "imagenet" : fused ? "2c2f" : "1c2f";
}

/** The channels to which features are narrowed before they are decoded, where pixels are labelled. */
function narrowed(features: Shape, model: Model): number | undefined {
  return segments(model) ? Math.min(SEGMENTATION_WIDTH, at(features, features.length - 1)) : undefined;
}

function termsOf(boundary: Boundary, options: InfoProOptions): Term[] {
  const { features, model, fused = false } = boundary;
  const { reconstruction, task } = weightsAt(boundary, options);
  const terms: Term[] = [];
  if (reconstruction !== 0) {
    const image = decoded(model);
    const { height, width, channels } = image;
    const { patches = 1 } = options;
    const [parts, targets] = [features, [height, width, channels]].map((shape) =>
      patchesOf("infopro", shape, patches)
    );
    parts?.forEach(({ shape, of }, i) => {
      const target = at(targets ?? [], i);
      const [height, width] = imageExtents("infopro", target.shape);
      terms.push({
        name: patches === 1 ? "decoder" : `decoder.${i}`,
        layer: decoder(shape, { height, width, channels }, narrowed(shape, model)),
        of,
        loss: (y, { images }) => binaryCrossEntropy(y, target.of(images)).mul(reconstruction),
      });
    });
  }
  if (task !== 0) {
    const contrastive = options.task === "contrastive";
    if (contrastive) {
      refuseRegression("infopro: the contrastive task term", model);
      refuseDense("infopro: the contrastive task term", model);
    }
    const name = options.classifier ?? usual(features, model, fused);
    const taskLoss = (y: Tensor, batch: TrainingBatch) =>
      contrastive ? supervisedContrastive(y, batch.labels, undefined, options.anchors) : batch.lossOf(y);
    terms.push({
      name: "classifier",
      of: (h) => h,
      layer: classifierFor(model, name, features, contrastive ? CONTRASTIVE_FEATURES : model.classes),
      loss: (y, batch) => taskLoss(y, batch).mul(task),
    });
  }
  return terms;
}
