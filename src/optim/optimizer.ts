import { expectKind } from "../base/expect.ts";
import { Initial } from "../nn/initial.ts";
import { type Aval, hostArrays, requireAval, sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeMap } from "../trace/tree.ts";

/** An optimizer's state: for each slot, such as `momentum`, a tree like the parameters'. */
export type Slots<T> = { readonly [slot: string]: Tree<T> };

/** The numbers that change from step to step, such as the learning rate: f32 scalar inputs of the traced step. */
export type Scalars<T> = { readonly [name: string]: T };

/** A rule that updates parameters from their gradients: pure functions of trees, which may be parts of a network's. */
export interface Optimizer {
  /** Its name, such as `sgd`. */
  readonly name: string;
  /** The options it was made with, defaults included. */
  readonly options: { readonly [name: string]: number | boolean };
  /** Returns the slots for parameters of these shapes, all starting at zero. */
  slots(params: Tree<Aval>): Slots<Initial>;
  /** Computes the scalars of step `step` (from 0) for {@link update}, on the host in double precision. */
  scalars(step: number, learningRate: number): Scalars<number>;
  /** Returns the parameters and slots after a step, within a traced function. */
  update<P>(
    params: P,
    gradients: P,
    slots: Slots<Tensor>,
    scalars: Scalars<Operand>,
  ): { params: P; slots: Slots<Tensor> };
}

/**
 * The slots an optimizer starts with, as host arrays, for a training step of your own. The parameters may be a tree of
 * anything that has a shape and a dtype.
 *
 * @example
 * ```ts
 * import { devices, jit, optim, type Tensor } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const sgd = optim.sgd({ momentum: 0.9 });
 * await using device = await devices.open("reference");
 * const step = jit(
 *   (params: Tensor, slots: optim.Slots<Tensor>, scalars: optim.Scalars<Tensor>) =>
 *     sgd.update(params, params.mul(2), slots, scalars), // the gradient of x²
 *   { device, donate: [0, 1] },
 * );
 * const x = device.array([1]);
 * const after = step(x, device.put(optim.zeroSlots(sgd, x)), sgd.scalars(0, 0.1));
 * assertAlmostEquals((await after.params.read())[0], 0.8, 1e-6);
 * ```
 */
export function zeroSlots(optimizer: Optimizer, params: Tree<Aval>): Slots<HostArray> {
  expectKind("zeroSlots: the optimizer", optimizer, "object");
  expectKind("zeroSlots: the optimizer's slots", optimizer.slots, "function");
  return treeMap(
    ({ shape, dtype }: Initial) => new HostArray(new hostArrays[dtype](sizeOf(shape)), shape, dtype),
    optimizer.slots(params),
  );
}

/** Starting values of zero with the shape and dtype of each leaf. */
export function zerosLike(params: Tree<Aval>): Tree<Initial> {
  return treeMap(
    (aval: Aval) => {
      requireAval(aval, "zerosLike");
      const { shape, dtype } = aval;
      return new Initial(shape, () => new hostArrays[dtype](sizeOf(shape)), dtype);
    },
    params,
  );
}
