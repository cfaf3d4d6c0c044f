import { expectBetween, expectOptions } from "../base/expect.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeMap } from "../trace/tree.ts";
import { entry } from "./entry.ts";
import { initialZeros, type Optimizer, type Scalars, type Slots } from "./optimizer.ts";

/** Options of {@link lion}. */
export interface LionOptions {
  /** Weight of the average in a step's direction, and decay of the average; default 0.9 and 0.99. */
  betas?: readonly [number, number];
  /** Each step scales parameters by 1 − learningRate·weightDecay, separately from the gradient; default 0. */
  weightDecay?: number;
}

/**
 * Lion (Chen et al., 2023, arXiv 2302.06675): a step in the direction of a sign. p *= 1 − learningRate·weightDecay;
 * p −= learningRate · sign(β₁·m + (1 − β₁)·g); m = β₂·m + (1 − β₂)·g. Every element moves by the learning rate, so Lion
 * wants about a tenth of AdamW's, and ten times its weight decay.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const lion = optim.lion({ weightDecay: 0.5 });
 * assertEquals(lion.options, { beta1: 0.9, beta2: 0.99, weightDecay: 0.5 });
 * ```
 */
export function lion(options: LionOptions = {}): Optimizer {
  expectOptions("lion", options, { betas: "array?", weightDecay: "number?" });
  const { betas: [beta1, beta2] = [0.9, 0.99], weightDecay = 0 } = options;
  expectBetween("lion: the first beta", beta1, 0, 1);
  expectBetween("lion: the second beta", beta2, 0, 1);
  expectBetween("lion: weight decay", weightDecay, 0);
  const average = (beta: number) => (m: Tensor, g: Tensor) => m.mul(beta).add(g.mul(1 - beta));
  return {
    name: "lion",
    options: { beta1, beta2, weightDecay },
    slots: (params) => ({ mean: initialZeros(params) }),
    scalars: (_step, learningRate) => ({ learningRate, keep: 1 - learningRate * weightDecay }),
    update<P>(params: P, gradients: P, slots: Slots<Tensor>, scalars: Scalars<Operand>) {
      const [learningRate, keep] = [entry("lion", scalars, "learningRate"), entry("lion", scalars, "keep")];
      const mean = entry("lion", slots, "mean");
      const [p, g] = [params, gradients] as [Tree<Tensor>, Tree<Tensor>];
      const moved = treeMap(
        (p: Tensor, g: Tensor, m: Tensor) => p.mul(keep).sub(average(beta1)(m, g).sign().mul(learningRate)),
        p,
        g,
        mean,
      );
      return { params: moved as P, slots: { mean: treeMap(average(beta2), mean, g) } };
    },
  };
}
