import { expectBetween, expectOptions } from "../base/expect.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeMap } from "../trace/tree.ts";
import { entry } from "./entry.ts";
import { initialZeros, type Optimizer, type Scalars, type Slots } from "./optimizer.ts";

/** Options of {@link adamw}. */
export interface AdamWOptions {
  /** Decay rates of the averages of the gradient and of its square; default 0.9 and 0.999. */
  betas?: readonly [number, number];
  /** Added to the root of the mean square; default 1e-8. */
  epsilon?: number;
  /** Each step scales parameters by 1 − learningRate·weightDecay, separately from the gradient; default 0.01. */
  weightDecay?: number;
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv 1711.05101), in the order of PyTorch's
 * `torch.optim.AdamW`: p *= 1 − learningRate·weightDecay, then p −= learningRate · m̂ / (√v̂ + epsilon).
 * `weightDecay: 0` gives Adam.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const adamw = optim.adamw({ weightDecay: 0.05 });
 * assertEquals(adamw.options["beta2"], 0.999);
 * ```
 */
export function adamw(options: AdamWOptions = {}): Optimizer {
  expectOptions("adamw", options, { betas: "array?", epsilon: "number?", weightDecay: "number?" });
  const { betas: [beta1, beta2] = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01 } = options;
  expectBetween("adamw: the first beta", beta1, 0, 1);
  expectBetween("adamw: the second beta", beta2, 0, 1);
  expectBetween("adamw: epsilon", epsilon, 0);
  expectBetween("adamw: weight decay", weightDecay, 0);
  return {
    name: "adamw",
    options: { beta1, beta2, epsilon, weightDecay },
    slots: (params) => ({ mean: initialZeros(params), square: initialZeros(params) }),
    scalars: (step, learningRate) => ({
      keep: 1 - learningRate * weightDecay,
      stepSize: learningRate / (1 - beta1 ** (step + 1)),
      root: Math.sqrt(1 - beta2 ** (step + 1)),
    }),
    update<P>(params: P, gradients: P, slots: Slots<Tensor>, scalars: Scalars<Operand>) {
      const [keep, stepSize, root] = [
        entry("adamw", scalars, "keep"),
        entry("adamw", scalars, "stepSize"),
        entry("adamw", scalars, "root"),
      ];
      const [p, g] = [params, gradients] as [Tree<Tensor>, Tree<Tensor>];
      const average = (slot: Tree<Tensor>, beta: number, f: (g: Tensor) => Tensor) =>
        treeMap((m: Tensor, g: Tensor) => m.mul(beta).add(f(g).mul(1 - beta)), slot, g);
      const mean = average(entry("adamw", slots, "mean"), beta1, (g) => g);
      const square = average(entry("adamw", slots, "square"), beta2, (g) => g.mul(g));
      const moved = treeMap(
        (p: Tensor, m: Tensor, v: Tensor) =>
          p.mul(keep).sub(m.mul(stepSize).div(v.sqrt().div(root).add(epsilon))),
        p,
        mean,
        square,
      );
      return { params: moved as P, slots: { mean, square } };
    },
  };
}
