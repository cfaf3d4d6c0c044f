import { expectKind } from "../base/expect.ts";
import { grouped } from "./grouped.ts";
import { described, expectOptimizer, type Optimizer, type Parameter } from "./optimizer.ts";

/** A function that names parameters: a test, or the beginnings of their paths, such as `layer1` or `layer1.0.conv1`. */
export type Selection = readonly string[] | ((parameter: Parameter) => boolean);

/**
 * Keeps some parameters as they are: they get no gradient, so that what only their gradients need is neither computed nor
 * kept, and no slots. The rest is updated by `optimizer`. Batch norms of frozen layers still normalise by the batch and
 * update their running statistics, as those in PyTorch do where only `requires_grad` is false.
 *
 * @param which The frozen parameters: a test, or the beginnings of their paths.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { assert } from "@std/assert";
 *
 * const target = await devices.target("cpu");
 * const peak = (optimizer: optim.Optimizer) =>
 *   local.memory({ model: models.resnet8(), method: local.endToEnd(), optimizer, batch: 32, target }).method;
 * const sgd = optim.sgd({ momentum: 0.9 });
 * const frozen = peak(optim.freeze(sgd, ["conv1", "bn1", "layer1", "layer2"]));
 * assert(frozen.peakBytes < peak(sgd).peakBytes);
 * assert((frozen.breakdown.optimizer ?? 0) < (peak(sgd).breakdown.optimizer ?? 0));
 * ```
 */
export function freeze(optimizer: Optimizer, which: Selection): Optimizer {
  expectOptimizer("freeze", optimizer);
  const isFrozen = selecting("freeze", which);
  const rule = grouped((parameter) => isFrozen(parameter) ? "frozen" : "trained", {
    frozen: FROZEN,
    trained: optimizer,
  });
  return {
    ...rule,
    name: "freeze",
    names: [...typeof which === "function" ? [] : which, ...rule.names ?? []],
    options: { frozen: typeof which === "function" ? which.name : which, inner: described(optimizer) },
  };
}

/** The optimizer of parameters that stay as they are. */
const FROZEN: Optimizer = {
  name: "frozen",
  options: {},
  slots: () => ({}),
  scalars: () => ({}),
  update: (params) => ({ params, slots: {} }),
};

/**
 * Decays weights but not the parameters of norms or biases, which have one axis: as in `decayed((weightDecay) =>
 * optim.sgd({ momentum: 0.9, weightDecay }), 1e-4)`.
 *
 * @param make Makes the optimizer for a weight decay; it is called with `weightDecay` and with 0.
 * @param which The parameters that decay; default: those of two axes or more.
 *
 * @example
 * ```ts
 * import { jit, optim, devices, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const optimizer = optim.decayed((weightDecay) => optim.sgd({ weightDecay }), 0.5);
 * await using device = await devices.open("reference");
 * const step = jit((params: { weight: Tensor; bias: Tensor }, scalars: optim.Scalars<Tensor>) => {
 *   const gradients = { weight: params.weight.mul(0), bias: params.bias.mul(0) };
 *   return optimizer.update(params, gradients, {}, scalars).params;
 * }, { device });
 * const params = { weight: device.array([2, 2], [1, 2]), bias: device.array([2]) };
 * const after = step(params, optimizer.scalars(0, 0.1));
 * assertEquals([(await after.weight.read())[0], (await after.bias.read())[0]], [Math.fround(1.9), 2]);
 * ```
 */
export function decayed(
  make: (weightDecay: number) => Optimizer,
  weightDecay: number,
  which: Selection = isMatrix,
): Optimizer {
  expectKind("decayed: make", make, "function");
  const decays = selecting("decayed", which);
  const rule = grouped((parameter) => decays(parameter) ? "decayed" : "kept", {
    decayed: make(weightDecay),
    kept: make(0),
  });
  return {
    ...rule,
    name: "decayed",
    names: [...typeof which === "function" ? [] : which, ...rule.names ?? []],
    options: {
      decayed: typeof which === "function" ? which.name : which,
      inner: described(make(weightDecay)),
    },
  };
}

/** True for filters and the weights of linear layers; false for norms and biases, which have one axis. */
function isMatrix({ shape }: Parameter): boolean {
  return shape.length >= 2;
}

/** Returns a selection as a test; `who` begins the message that refuses another value. */
function selecting(who: string, which: Selection): (parameter: Parameter) => boolean {
  if (typeof which === "function") return which;
  expectKind(`${who}: the parameters`, which, "array");
  for (const start of which) expectKind(`${who}: the beginning of a path`, start, "string");
  return ({ path }) => which.some((start) => path === start || path.startsWith(`${start}.`));
}
