import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions } from "../base/expect.ts";
import type { Initial } from "../nn/initial.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeMap } from "../trace/tree.ts";
import { entry } from "./entry.ts";
import { initialZeros, type Optimizer, type Scalars, type Slots } from "./optimizer.ts";

/** Options of {@link sgd}. */
export interface SgdOptions {
  /** Fraction of the previous step that is kept; default 0. */
  momentum?: number;
  /** Uses Nesterov momentum; default false. */
  nesterov?: boolean;
  /** L2 penalty, as if ½·weightDecay·p² were added to the loss; default 0. */
  weightDecay?: number;
  /** Scales gradients by 1 − dampening where they enter the momentum after the first step; default 0. */
  dampening?: number;
}

/**
 * Stochastic gradient descent as PyTorch's `torch.optim.SGD` defines it: g = gradient + weightDecay·p;
 * v = momentum·v + (1 − dampening)·g, where v = g in the first step; p −= learningRate·(nesterov ? g + momentum·v : v).
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const sgd = optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 });
 * assertEquals(sgd.options["momentum"], 0.9);
 * ```
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  expectOptions("sgd", options, {
    momentum: "number?",
    nesterov: "boolean?",
    weightDecay: "number?",
    dampening: "number?",
  });
  const { momentum = 0, nesterov = false, weightDecay = 0, dampening = 0 } = options;
  expectBetween("sgd: momentum", momentum, 0, 1);
  expectBetween("sgd: weight decay", weightDecay, 0);
  expectBetween("sgd: dampening", dampening, 0, 1);
  if (nesterov && (momentum === 0 || dampening !== 0)) {
    throw new LocalgradError("sgd: nesterov needs a momentum above 0 and no dampening");
  }
  return {
    name: "sgd",
    options: { momentum, nesterov, weightDecay, dampening },
    slots: (params): Slots<Initial> => momentum === 0 ? {} : { momentum: initialZeros(params) },
    scalars: (step, learningRate) => ({
      learningRate,
      ...(dampening === 0 ? {} : { entering: step === 0 ? 1 : 1 - dampening }),
    }),
    update<P>(params: P, gradients: P, slots: Slots<Tensor>, scalars: Scalars<Operand>) {
      const learningRate = entry("sgd", scalars, "learningRate");
      const { entering = 1 } = scalars;
      const [p, g] = [params, gradients] as [Tree<Tensor>, Tree<Tensor>];
      const decayed = weightDecay === 0
        ? g
        : treeMap((g: Tensor, p: Tensor) => g.add(p.mul(weightDecay)), g, p);
      const move = (directions: Tree<Tensor>) =>
        treeMap((p: Tensor, d: Tensor) => p.sub(d.mul(learningRate)), p, directions) as P;
      if (momentum === 0) return { params: move(decayed), slots };
      const velocity = treeMap(
        (v: Tensor, g: Tensor) => v.mul(momentum).add(dampening === 0 ? g : g.mul(entering)),
        entry("sgd", slots, "momentum"),
        decayed,
      );
      const directions = nesterov
        ? treeMap((g: Tensor, v: Tensor) => g.add(v.mul(momentum)), decayed, velocity)
        : velocity;
      return { params: move(directions), slots: { momentum: velocity } };
    },
  };
}
