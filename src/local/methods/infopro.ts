import { LocalgradError } from "../../base/errors.ts";
import { expectObject } from "../../base/expect.ts";
import type { Layer } from "../../nn/layer.ts";
import type { Named } from "../../nn/named.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { classifier as classifierOf, type ClassifierName, decoder, isLarge } from "../heads/heads.ts";
import { binaryCrossEntropy, crossEntropy, supervisedContrastive } from "../losses.ts";
import type { Auxiliary, Boundary, Method } from "../method.ts";
import { type TermWeights, weightsAt, type WeightSchedule, type WeightsName } from "./infopro_weights.ts";
import { type LossTerm, sumOfLosses } from "./sum_of_losses.ts";

/** Options of {@link infopro}. */
export interface InfoProOptions {
  /** The task term: softmax cross-entropy, or the supervised contrastive loss on 128 features; default `crossEntropy`. */
  task?: "crossEntropy" | "contrastive";
  /**
   * Which images of a batch the contrastive loss is averaged over: `all`, the default, as in the published code, where
   * the only one of its class counts with a loss of 0; or `paired`, those that share their class with another.
   */
  anchors?: "all" | "paired";
  /** The network of the task term; default `1c2f`, within MAN `2c2f`; for large images `imagenet`. */
  classifier?: ClassifierName;
  /**
   * The terms' weights, or the data set whose published ones are used; default: of the data set with images of the
   * network's size, for the network and K.
   */
  weights?: TermWeights | WeightsName;
  /**
   * How weights go from the first to the last; default `index`. `stage` is what MAN's published code does; with it the
   * weights are by default MAN's, 5 → 0 and 0.5 → 0.
   */
  schedule?: WeightSchedule;
}

const CONTRASTIVE_FEATURES = 128;

/**
 * InfoPro (Wang et al., 2021, arXiv 2101.10832): each module keeps what tells about the image, by reconstructing it
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
  expectObject("infopro", options, {
    task: "string?",
    anchors: "string?",
    classifier: "string?",
    weights: "any?",
    schedule: "any?",
  });
  const { task = "crossEntropy", anchors = "all", classifier, weights, schedule = "index" } = options;
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
      'infopro: anchors are of the contrastive task term; ask for task: "contrastive"',
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
    },
    auxiliary: (boundary) => terms(boundary, options),
  };
}

function terms(boundary: Boundary, options: InfoProOptions): Auxiliary {
  const { features, model, within } = boundary;
  const { reconstruction, task } = weightsAt(boundary, options);
  const contrastive = options.task === "contrastive";
  const name = options.classifier ??
    (isLarge(model.input) ? "imagenet" : within === undefined ? "1c2f" : "2c2f");
  const networks: { decoder?: Layer; classifier?: Layer } = {
    ...(reconstruction === 0 ? {} : { decoder: decoder(features, model.input) }),
    ...(task === 0
      ? {}
      : { classifier: classifierOf(name, features, contrastive ? CONTRASTIVE_FEATURES : model.classes) }),
  };
  const parts = Object.entries(networks) as ["decoder" | "classifier", Layer][];
  return {
    params: Object.fromEntries(parts.map(([name, layer]) => [name, layer.params])),
    state: Object.fromEntries(parts.map(([name, layer]) => [name, layer.state])),
    loss(params, state, h, batch) {
      const states: { [name: string]: Named<Tensor> } = {};
      const terms = parts.map(([name, layer]): LossTerm => ({
        params: params[name] as Named<Tensor>,
        loss(params, h) {
          const { y, state: next } = layer.apply(params, state[name] as Named<Tensor>, h, "train");
          states[name] = next;
          if (name === "decoder") return binaryCrossEntropy(y, batch.images).mul(reconstruction);
          const loss = contrastive
            ? supervisedContrastive(y, batch.labels, undefined, options.anchors)
            : crossEntropy(y, batch.labels);
          return loss.mul(task);
        },
      }));
      return { loss: sumOfLosses(h, terms), state: states };
    },
  };
}
