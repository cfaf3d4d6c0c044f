import { expectBetween, expectOptions } from "../base/expect.ts";
import { where } from "../trace/functions.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeMap } from "../trace/tree.ts";
import { entry } from "./entry.ts";
import { normOf } from "./norm.ts";
import { initialZeros, type Optimizer, type Scalars, type Slots } from "./optimizer.ts";

/** Options of {@link lamb}. */
export interface LambOptions {
  /** Decay rates of the averages of the gradient and of its square; default 0.9 and 0.999. */
  betas?: readonly [number, number];
  /** Added to the root of the mean square; default 1e-6. */
  epsilon?: number;
  /** Multiple of the parameter that is added to Adam's direction; default 0.01. */
  weightDecay?: number;
}

/**
 * LAMB (You et al., 2020, arXiv 1904.00962), for large batches: Adam's step for each parameter tensor, scaled to the
 * tensor's own norm. u = m̂ / (√v̂ + epsilon) + weightDecay·p; p −= learningRate · (‖p‖ / ‖u‖) · u, where the ratio is 1 if
 * either norm is 0. Both averages are corrected for their start at zero; there is no clipping inside (see
 * {@link clipped}).
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const lamb = optim.lamb({ weightDecay: 0.02 });
 * assertEquals([lamb.options["beta1"], lamb.options["epsilon"]], [0.9, 1e-6]);
 * ```
 */
export function lamb(options: LambOptions = {}): Optimizer {
  expectOptions("lamb", options, { betas: "array?", epsilon: "number?", weightDecay: "number?" });
  const { betas: [beta1, beta2] = [0.9, 0.999], epsilon = 1e-6, weightDecay = 0.01 } = options;
  expectBetween("lamb: the first beta", beta1, 0, 1);
  expectBetween("lamb: the second beta", beta2, 0, 1);
  expectBetween("lamb: epsilon", epsilon, 0);
  expectBetween("lamb: weight decay", weightDecay, 0);
  return {
    name: "lamb",
    options: { beta1, beta2, epsilon, weightDecay },
    slots: (params) => ({ mean: initialZeros(params), square: initialZeros(params) }),
    scalars: (step, learningRate) => ({
      learningRate,
      correction: 1 - beta1 ** (step + 1),
      root: Math.sqrt(1 - beta2 ** (step + 1)),
    }),
    update<P>(params: P, gradients: P, slots: Slots<Tensor>, scalars: Scalars<Operand>) {
      const [learningRate, correction, root] = [
        entry("lamb", scalars, "learningRate"),
        entry("lamb", scalars, "correction"),
        entry("lamb", scalars, "root"),
      ];
      const [p, g] = [params, gradients] as [Tree<Tensor>, Tree<Tensor>];
      const average = (slot: Tree<Tensor>, beta: number, f: (g: Tensor) => Tensor) =>
        treeMap((m: Tensor, g: Tensor) => m.mul(beta).add(f(g).mul(1 - beta)), slot, g);
      const mean = average(entry("lamb", slots, "mean"), beta1, (g) => g);
      const square = average(entry("lamb", slots, "square"), beta2, (g) => g.mul(g));
      const move = (p: Tensor, m: Tensor, v: Tensor) => {
        const adam = m.div(correction).div(v.sqrt().div(root).add(epsilon));
        const u = weightDecay === 0 ? adam : adam.add(p.mul(weightDecay));
        return p.sub(u.mul(ratio(normOf([p]), normOf([u])).mul(learningRate)));
      };
      return { params: treeMap(move, p, mean, square) as P, slots: { mean, square } };
    },
  };
}

/** Returns a / b, or 1 where either is 0. */
function ratio(a: Tensor, b: Tensor): Tensor {
  const defined = a.gt(0).and(b.gt(0));
  return where(defined, a.div(where(defined, b, 1)), 1);
}
