import { expectKind } from "../base/expect.ts";
import { Initial } from "../nn/initial.ts";
import { type Aval, hostArrays, requireAval, sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeMap } from "../trace/tree.ts";

/** An optimizer's memory: for each kind, such as `momentum`, a tree like the parameters'. */
export type Slots<T> = { readonly [slot: string]: Tree<T> };

/** The numbers a step depends on, such as the learning rate: f32 scalars of the traced step, so that it is not traced again. */
export type Scalars<T> = { readonly [name: string]: T };

/** A rule that moves parameters along their gradients: pure functions over trees, which may be parts of a network's. */
export interface Optimizer {
  /** What to call it, such as `sgd`. */
  readonly name: string;
  /** What it was made with. */
  readonly options: { readonly [name: string]: number | boolean };
  /** The slots for parameters of these shapes, all starting at zero. */
  slots(params: Tree<Aval>): Slots<Initial>;
  /** What {@link update} needs to know of step `step` (from 0), computed on the host in double precision. */
  scalars(step: number, learningRate: number): Scalars<number>;
  /** The parameters and slots after a step, within a traced function. */
  update<P>(
    params: P,
    gradients: P,
    slots: Slots<Tensor>,
    scalars: Scalars<Operand>,
  ): { params: P; slots: Slots<Tensor> };
}

/**
 * The slots an optimizer starts with, as host arrays: for those who write their own step. The parameters may be a tree
 * of anything that has a shape.
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
  ) as Slots<HostArray>;
}

/** Zeros shaped like each leaf. */
export function zerosLike(params: Tree<Aval>): Tree<Initial> {
  return treeMap(
    (aval: Aval) => {
      requireAval(aval, "zerosLike");
      const { shape, dtype } = aval;
      return new Initial(shape, () => new hostArrays[dtype](sizeOf(shape)), dtype);
    },
    params,
  ) as Tree<Initial>;
}
