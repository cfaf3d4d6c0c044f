/**
 * The weights of InfoPro's terms along a network. Sources: the READMEs and configurations of the authors' repositories,
 * blackfeather-wang/InfoPro-Pytorch (f4e91f0) and JunhaoSu0/MAN (a6d20c5).
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { type Model, segments } from "../../models/model.ts";
import type { Boundary } from "../method.ts";

/** Weights of InfoPro's reconstruction (λ1) and task (λ2) terms: at the first boundary and at the last. */
export interface TermWeights {
  /** λ1 at the first and at the last boundary. */
  readonly reconstruction: readonly [number, number];
  /** λ2 at the first and at the last boundary. */
  readonly task: readonly [number, number];
}

/** A data set that InfoPro's weights were published for. */
export type WeightsName = "cifar10" | "svhn" | "stl10" | "imagenet" | "cityscapes";

/**
 * The interpolation of a weight between its first and its last value: by the boundary's `index`, which gives the last
 * value at the last boundary; by the `stage` of the next block divided by K − 2, as in MAN's published code, which rarely
 * reaches the last value; or a function that returns 0 (first) to 1 (last).
 */
export type WeightSchedule = "index" | "stage" | ((boundary: Boundary) => number);

function weights(first: readonly [number, number], last: readonly [number, number] = first): TermWeights {
  return { reconstruction: [first[0], last[0]], task: [first[1], last[1]] };
}

type Table = { readonly [model: string]: { readonly [modules: number]: TermWeights } };

/** (λ1, λ2) at the first boundary → at the last, by data set, network (the usual one first) and K. */
const published: { readonly [name in WeightsName]: Table } = {
  cifar10: {
    resnet110: {
      2: weights([5, 0.5]),
      4: weights([1, 0], [0, 1]),
      8: weights([5, 0], [0, 1]),
      16: weights([5, 0], [0.5, 1]),
    },
    resnet32: {
      2: weights([5, 1]),
      4: weights([6, 0], [1, 2]),
      8: weights([5, 0], [0, 2]),
      16: weights([5, 0.05], [0.2, 0.5]),
    },
  },
  svhn: {
    resnet110: {
      2: weights([1, 0.1]),
      4: weights([5, 0], [0.5, 1]),
      8: weights([5, 0], [0.5, 2]),
      16: weights([5, 0.2], [0.5, 1]),
    },
  },
  stl10: {
    resnet110: {
      2: weights([10, 1]),
      4: weights([20, 0.2], [5, 2]),
      8: weights([20, 0.2], [5, 1]),
      16: weights([20, 0.5], [10, 0.1]),
    },
  },
  // 512×1024 crops, batch 8: configs/deeplabv3/infopro_deeplabv3_r101-d8_512x1024_40k_cityscapes.py.
  cityscapes: { deeplabv3_resnet101: { 2: weights([1.5, 1]) } },
  imagenet: { resnet101: { 2: weights([5, 0.75]) }, resnet152: { 2: weights([5, 1]) } },
};

/** MAN's weights for InfoPro: for every small network and K, and the constant ones of its ImageNet code. */
const manWeights = { small: weights([5, 0.5], [0, 0]), imagenet: weights([5, 0.75]) };

/** Returns the data set whose weights a network uses by default: the one with images of its size, or with labelled pixels. */
function usual(model: Model): WeightsName {
  const { input } = model;
  if (segments(model)) return "cityscapes";
  const side = "features" in input ? 0 : Math.max(input.height, input.width);
  return side <= 32 ? "cifar10" : side <= 96 ? "stl10" : "imagenet";
}

/**
 * Returns InfoPro's published weights for a network cut into `modules`. A K that was not published uses the smallest
 * published K above it, or else the largest. A network that was not published uses ResNet-32's weights if it has no more
 * blocks than that, or else those of the table's first network.
 */
function publishedWeights(model: Model, modules: number, name: WeightsName = usual(model)): TermWeights {
  const table = published[name];
  if (table === undefined) {
    throw new LocalgradError(
      `infopro: no weights were published for ${JSON.stringify(name)}; choose ${
        Object.keys(published).join(", ")
      }`,
    );
  }
  const { resnet32 } = table;
  const byModules = table[model.name] ?? (model.blocks.length <= 15 ? resnet32 : undefined) ??
    at(Object.values(table), 0);
  const byCount = Object.entries(byModules);
  const [, weights] = byCount.find(([count]) => Number(count) >= modules) ?? at(byCount, byCount.length - 1);
  return weights;
}

/**
 * Returns λ1 and λ2 at a boundary. The default weights are InfoPro's published ones for the schedule by index, and MAN's
 * for the schedule by stage. Refuses negative weights, and weights that are both 0.
 */
export function weightsAt(
  boundary: Boundary,
  options: { weights?: TermWeights | WeightsName; schedule?: WeightSchedule },
): { reconstruction: number; task: number } {
  const { weights, schedule = "index" } = options;
  const { model, requested } = boundary;
  const ends = typeof weights === "object"
    ? weights
    : weights === undefined && schedule === "stage"
    ? manWeights[["imagenet", "cityscapes"].includes(usual(model)) ? "imagenet" : "small"]
    : publishedWeights(model, requested, weights);
  const ratio = ratioAt(boundary, schedule);
  const at = ([first, last]: readonly [number, number]) => first * (1 - ratio) + last * ratio;
  const result = { reconstruction: at(ends.reconstruction), task: at(ends.task) };
  const how = typeof schedule === "function" ? "its own schedule" : schedule;
  const where = `infopro: by ${how}, the weights at boundary ${boundary.index + 1} of ${boundary.count} ` +
    `(before ${boundary.next.name}) are ${result.reconstruction} and ${result.task}`;
  const remedy = schedule === "stage"
    ? 'The published schedule by stage is for networks cut into at least 6 modules; schedule: "index" suits any'
    : "Give other weights: infopro({ weights: { reconstruction: [5, 0.5], task: [0.5, 1] } })";
  if (!(result.reconstruction >= 0 && result.task >= 0)) {
    throw new LocalgradError(`${where}; a loss weight must not be negative. ${remedy}`);
  }
  if (result.reconstruction === 0 && result.task === 0) {
    throw new LocalgradError(`${where}: the module would learn nothing. ${remedy}`);
  }
  return result;
}

function ratioAt(boundary: Boundary, schedule: WeightSchedule): number {
  const { index, count, requested, module, next } = boundary;
  if (typeof schedule === "function") return schedule(boundary);
  switch (schedule) {
    case "index":
      return count === 1 ? 0 : index / (count - 1);
    case "stage": // 0 after a stem that is a separate module
      return requested <= 2 || module.blocks.length === 0 ? 0 : (next.stage ?? 1) / (requested - 2);
    default:
      throw new LocalgradError(
        `infopro: there is no schedule ${
          JSON.stringify(schedule)
        }; choose "index", "stage" or give a function`,
      );
  }
}
