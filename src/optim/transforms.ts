import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions } from "../base/expect.ts";
import { full, where } from "../trace/functions.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeLeaves, treeMap } from "../trace/tree.ts";
import { scaledNorm } from "./norm.ts";
import { around, described, expectOptimizer, type Optimizer, type Scalars, type Slots } from "./optimizer.ts";

/**
 * Multiplies the learning rate by a factor, for parameters that learn faster or more slowly than others: see
 * {@link grouped}.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(optim.scaled(optim.sgd(), 10).scalars(0, 0.5), { learningRate: 5 });
 * ```
 */
export function scaled(optimizer: Optimizer, factor: number): Optimizer {
  expectOptimizer("scaled", optimizer);
  expectBetween("scaled: the factor", factor, 0);
  return around(optimizer, {
    name: "scaled",
    options: { factor, inner: described(optimizer) },
    scalars: (step, learningRate) => optimizer.scalars(step, learningRate * factor),
  });
}

/** Options of {@link clipped}: one of the two. */
export interface ClipOptions {
  /** The largest norm of all gradients of an update together; larger ones are scaled down to it. */
  norm?: number;
  /** The largest absolute value of an element of a gradient. */
  value?: number;
}

/**
 * Clips gradients before an update. An update in local learning is that of one module with its auxiliary network, so
 * `norm` limits the norm of each module's gradients: no gradient of the whole network exists at any time. End to end,
 * the network is one module. Clipping by norm keeps all gradients of a module until the last is known, which the
 * planned memory counts.
 *
 * The norm cannot overflow or vanish on the way. If a gradient is not finite, neither is the norm, and all gradients of
 * the module become NaN: `fit` stops and names the module. An element that is not finite is not clipped to `value`
 * either, so that it stops the run.
 *
 * Inside {@link grouped} and {@link freeze} it clips the gradients of that group.
 *
 * @throws {LocalgradError} unless exactly one option is given.
 *
 * @example
 * ```ts
 * import { devices, jit, optim, type Tensor } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const optimizer = optim.clipped(optim.sgd(), { norm: 1 });
 * await using device = await devices.open("reference");
 * const step = jit(
 *   (x: Tensor, g: Tensor, scalars: optim.Scalars<Tensor>) => optimizer.update(x, g, {}, scalars).params,
 *   { device },
 * );
 * const after = await step(device.array([0, 0]), device.array([3, 4]), optimizer.scalars(0, 1)).read();
 * assertAlmostEquals(after[0], -0.6, 1e-6); // [3, 4] has norm 5
 * ```
 */
export function clipped(optimizer: Optimizer, options: ClipOptions): Optimizer {
  expectOptimizer("clipped", optimizer);
  expectOptions("clipped", options, { norm: "number?", value: "number?" });
  const { norm, value } = options;
  const limit = norm ?? value;
  if (limit === undefined || (norm !== undefined && value !== undefined)) {
    throw new LocalgradError("clipped: give either a norm or a value");
  }
  if (!(limit > 0 && limit < Infinity)) {
    throw new LocalgradError(`clipped: the limit must be a number above 0, not ${limit}`);
  }
  return around(optimizer, {
    name: "clipped",
    options: { ...options, inner: described(optimizer) },
    update<P>(params: P, gradients: P, slots: Slots<Tensor>, scalars: Scalars<Operand>) {
      const tree = gradients as Tree<Tensor>;
      const update = (gradients: Tree<Tensor>) => optimizer.update(params, gradients as P, slots, scalars);
      if (value !== undefined) return update(treeMap((g: Tensor) => within(g, value), tree));
      if (treeLeaves(tree).length === 0) return update(tree);
      const { largest, root } = scaledNorm(treeLeaves(tree));
      const factor = full([], limit).div(largest).div(root).minimum(1);
      return { ...update(treeMap((g: Tensor) => g.mul(factor), tree)), norm: largest.mul(root) };
    },
  });
}

/** Clips finite elements to ±limit. */
function within(g: Tensor, limit: number): Tensor {
  return where(g.isFinite(), g.minimum(limit).maximum(-limit), g);
}
