import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectObject, expectOptions, expectWhole } from "../base/expect.ts";
import type { Initial } from "../nn/initial.ts";
import { merge, type Named, select } from "../nn/named.ts";
import type { Optimizer, Scalars } from "../optim/optimizer.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { treeFlatten, treeMap, treeUnflatten } from "../trace/tree.ts";
import type { Module } from "./partition/partition.ts";

/**
 * An average of the network's weights over the steps of training, which is evaluated instead of the last weights. It
 * starts as a copy of the weights, in the step after `from`. Running statistics are averaged alike.
 */
export interface WeightAverage {
  /**
   * Share of the average that each step keeps, such as 0.999: an exponential moving average. Default: all steps have
   * equal weight, which is stochastic weight averaging (Izmailov et al., 2018, arXiv 1803.05407).
   */
  readonly decay?: number;
  /** Steps before averaging starts; until then, the average is a copy of the weights. Default 0. */
  readonly from?: number;
  /** Steps between those that are averaged, counted from `from`; default 1. */
  readonly every?: number;
}

/** The name of the slot that holds the average; optimizers cannot have one of that name. */
export const AVERAGED = "averaged";
const KEEP = "averagedKeep";
const SHARE = "averagedShare";

/** Refuses an average that is not one. */
export function checkAverage(average: WeightAverage): void {
  expectOptions("average", average, { decay: "number?", from: "number?", every: "number?" });
  const { decay = 0, from = 0, every = 1 } = average;
  expectBetween("average: decay", decay, 0, 1);
  expectWhole("average: from", from, 0);
  expectWhole("average: every", every);
}

/** What a step keeps of the average: 0 copies the weights, 1 leaves the average as it is. */
export function kept({ decay, from = 0, every = 1 }: WeightAverage, step: number): number {
  if (step <= from) return 0;
  if ((step - from) % every !== 0) return 1;
  const before = (step - from) / every; // steps that are in the average already
  return decay ?? before / (before + 1);
}

/** The values that change from step to step: the optimizer's scalars, and those of the average. */
export function stepScalars(
  setup: { readonly optimizer: Optimizer; readonly average?: WeightAverage | undefined },
  step: number,
  learningRate: number,
): Scalars<number> {
  expectObject("stepScalars", setup, { optimizer: "object", average: "object?" } as const);
  expectWhole("stepScalars: the step", step, 0);
  const { optimizer, average } = setup;
  const scalars = optimizer.scalars(step, learningRate);
  if (average === undefined) return scalars;
  const keep = kept(average, step);
  return { ...scalars, [KEEP]: keep, [SHARE]: 1 - keep };
}

/** The optimizer's slots for all parameters, and the average of the network's own values. */
export function slotsOf(
  { optimizer, average }: { readonly optimizer: Optimizer; readonly average?: WeightAverage | undefined },
  params: Named<Initial>,
  modules: readonly Module[],
): Named<Initial> {
  const slots = optimizer.slots(params) as Named<Initial>;
  if (average === undefined) return slots;
  if (AVERAGED in slots) {
    throw new LocalgradError(
      `setup: the optimizer ${optimizer.name} has a slot ${AVERAGED}, which is taken; rename it`,
    );
  }
  return {
    ...slots,
    [AVERAGED]: merge(...modules.map(({ layer }) => copies(merge(layer.params, layer.state)))),
  };
}

/** Starting values that are copies of these. */
function copies(tree: Named<Initial>): Named<Initial> {
  const { leaves, paths, structure } = treeFlatten<Initial>(tree);
  const copied = leaves.map((initial, i) => initial.copying(initial.drawnAs ?? paths[i] ?? ""));
  return treeUnflatten(structure, copied) as Named<Initial>;
}

/** The average after a step that left these values in a module. */
export function averageAfter(
  { layer }: Module,
  before: Named<Tensor>,
  params: Named<Tensor>,
  state: Named<Tensor>,
  scalars: Scalars<Operand>,
): Named<Tensor> {
  const own = merge(layer.params, layer.state);
  const [keep, share] = [scalars[KEEP], scalars[SHARE]];
  if (keep === undefined || share === undefined) {
    throw new LocalgradError("trainStep: an average of weights needs the scalars of stepScalars()");
  }
  return treeMap(
    (average: Tensor, value: Tensor) =>
      value.dtype === "f32" ? average.mul(keep).add(value.mul(share)) : value,
    select(before, own),
    merge(select(params, layer.params), select(state, layer.state)),
  ) as Named<Tensor>;
}

/**
 * The parameters and running statistics to evaluate: the averages, where there are any, in place of the last values.
 * Values of auxiliary networks are not averaged.
 */
export function evaluated<T>(
  { params, state, optimizer }: { params: Named<T>; state: Named<T>; optimizer: Named<T> },
): { params: Named<T>; state: Named<T> } {
  const averaged = optimizer[AVERAGED];
  if (averaged === undefined) return { params, state };
  const { leaves, paths } = treeFlatten<T>(averaged);
  const values = new Map(leaves.map((leaf, i) => [paths[i], leaf]));
  const replaced = (tree: Named<T>) => {
    const { leaves, paths, structure } = treeFlatten<T>(tree);
    return treeUnflatten(structure, leaves.map((leaf, i) => values.get(paths[i]) ?? leaf)) as Named<T>;
  };
  return { params: replaced(params), state: replaced(state) };
}
