import { LocalgradError } from "../errors.ts";
import type { Layer } from "../nn/layer.ts";
import type { Named } from "../nn/named.ts";
import type { Tensor } from "../trace/tensor.ts";
import { classifier, type ClassifierName, decoder } from "./heads.ts";
import { binaryCrossEntropy, crossEntropy, supervisedContrastive } from "./losses.ts";
import type { Auxiliary, Boundary, Method } from "./method.ts";
import { infoproWeightsFor, manInfoproWeights, type TermWeights } from "./published.ts";

/**
 * How far along its way from first to last a weight is at a boundary: by its index, reaching the last value at the last
 * boundary, or by the stage of the block that follows divided by K − 2, as the published code of MAN does, which
 * reaches it hardly ever.
 */
export type WeightSchedule = "index" | "stage";

/** Options of {@link infopro}. */
export interface InfoProOptions {
  /** The task term: softmax cross-entropy, or the supervised contrastive loss on 128 features; default `crossEntropy`. */
  task?: "crossEntropy" | "contrastive";
  /** The network of the task term; default `1c2f`, within MAN `2c2f`. */
  classifier?: ClassifierName;
  /** The terms' weights; default: as published for the network and K, within MAN 5→0 and 0.5→0. */
  weights?: TermWeights;
  /** How weights go from the first to the last; default `index`, for MAN's published weights `stage`. */
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
  const { task = "crossEntropy" } = options;
  if (task !== "crossEntropy" && task !== "contrastive") {
    throw new LocalgradError(
      `infopro: there is no task term ${JSON.stringify(task)}; choose "crossEntropy" or "contrastive"`,
    );
  }
  return {
    name: "infopro",
    options: { ...options, task },
    auxiliary: (boundary) => terms(boundary, options),
  };
}

function terms(boundary: Boundary, options: InfoProOptions): Auxiliary {
  const { features, model, within } = boundary;
  const { reconstruction, task } = weightsAt(boundary, options);
  const contrastive = options.task === "contrastive";
  const name = options.classifier ?? (within === "man" ? "2c2f" : "1c2f");
  const networks: { decoder?: Layer; classifier?: Layer } = {
    ...(reconstruction === 0 ? {} : { decoder: decoder(features, model.input) }),
    ...(task === 0
      ? {}
      : { classifier: classifier(name, features, contrastive ? CONTRASTIVE_FEATURES : model.classes) }),
  };
  const parts = Object.entries(networks) as ["decoder" | "classifier", Layer][];
  return {
    params: Object.fromEntries(parts.map(([name, layer]) => [name, layer.params])),
    state: Object.fromEntries(parts.map(([name, layer]) => [name, layer.state])),
    loss(params, state, h, batch) {
      const losses: Tensor[] = [];
      const states: { [name: string]: Named<Tensor> } = {};
      for (const [name, layer] of parts) {
        const { y, state: next } = layer.apply(
          params[name] as Named<Tensor>,
          state[name] as Named<Tensor>,
          h,
          "train",
        );
        states[name] = next;
        if (name === "decoder") losses.push(binaryCrossEntropy(y, batch.images).mul(reconstruction));
        else losses.push((contrastive ? supervisedContrastive : crossEntropy)(y, batch.labels).mul(task));
      }
      return { loss: losses.reduce((sum, term) => sum.add(term)), state: states };
    },
  };
}

/** λ1 and λ2 at a boundary; refuses weights that train toward the opposite or nothing at all. */
export function weightsAt(
  boundary: Boundary,
  options: InfoProOptions,
): { reconstruction: number; task: number } {
  const man = boundary.within === "man" && options.weights === undefined;
  const weights = options.weights ??
    (man ? manInfoproWeights : infoproWeightsFor(boundary.model, boundary.requested));
  const schedule = options.schedule ?? (man ? "stage" : "index");
  const ratio = ratioAt(boundary, schedule);
  const at = ([first, last]: readonly [number, number]) => first * (1 - ratio) + last * ratio;
  const result = { reconstruction: at(weights.reconstruction), task: at(weights.task) };
  const where =
    `infopro: by ${schedule}, the weights at boundary ${boundary.index + 1} of ${boundary.count} ` +
    `(before ${boundary.next.name}) are ${result.reconstruction} and ${result.task}`;
  const others =
    'weights in a script: infopro({ weights: { reconstruction: [5, 0.5], task: [0.5, 1] }, schedule: "index" })';
  const remedy = schedule === "stage"
    ? `Cut a deeper network into at least 6 modules, or give other ${others}`
    : `Give other ${others}`;
  if (!(result.reconstruction >= 0 && result.task >= 0)) {
    throw new LocalgradError(`${where}; a loss weight must not be negative. ${remedy}`);
  }
  if (result.reconstruction === 0 && result.task === 0) {
    throw new LocalgradError(`${where}: the module would learn nothing. ${remedy}`);
  }
  return result;
}

function ratioAt({ index, count, requested, next }: Boundary, schedule: WeightSchedule): number {
  switch (schedule) {
    case "index":
      return count === 1 ? 0 : index / (count - 1);
    case "stage":
      return requested <= 2 ? 0 : (next.stage ?? 1) / (requested - 2);
    default:
      throw new LocalgradError(
        `infopro: there is no schedule ${JSON.stringify(schedule)}; choose "index" or "stage"`,
      );
  }
}
