import { expectKind, expectObject } from "../base/expect.ts";
import { Initial } from "../nn/initial.ts";
import { type Aval, hostArrays, requireAval, type Shape, sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeMap } from "../trace/tree.ts";

/** An optimizer's state: for each slot, such as `momentum`, a tree like the parameters'. */
export type Slots<T> = { readonly [slot: string]: Tree<T> };

/** The numbers that change from step to step, such as the learning rate: f32 scalar inputs of the traced step. */
export type Scalars<T> = { readonly [name: string]: T };

/** A parameter, as rules by parameter see it. */
export interface Parameter {
  /** Its path in the tree, such as `layer1.0.conv1.weight`. */
  readonly path: string;
  /** Its shape: `[out, height, width, in]` for filters, `[out, in]` for linear layers, `[channels]` for the rest. */
  readonly shape: Shape;
}

/**
 * A rule that updates parameters from their gradients: pure functions of trees, which may be parts of a network's. The
 * paths in a part are those in the whole network.
 */
export interface Optimizer {
  /** Its name, such as `sgd`. */
  readonly name: string;
  /** The options it was made with, defaults included. */
  readonly options: { readonly [name: string]: unknown };
  /**
   * Returns the slots for parameters of these shapes, all starting at zero. A slot is a tree like the parameters; it may
   * leave some of them out.
   */
  slots(params: Tree<Aval>): Slots<Initial>;
  /** Computes the scalars of step `step` (from 0) for {@link update}, on the host in double precision. */
  scalars(step: number, learningRate: number): Scalars<number>;
  /** Returns the parameters and slots after a step, within a traced function. */
  update<P>(
    params: P,
    gradients: P,
    slots: Slots<Tensor>,
    scalars: Scalars<Operand>,
  ): Updated<P>;
  /** Returns a text that differs where parameters are treated differently; default: all are treated alike. */
  kindOf?(parameter: Parameter): string;
  /** Beginnings of paths that its rules name; `setup` refuses those that no parameter has. Default: none. */
  readonly names?: readonly string[];
}

/** Parameters and slots after a step. */
export interface Updated<P> {
  /** The parameters. */
  params: P;
  /** The slots. */
  slots: Slots<Tensor>;
  /** The norm of the gradients before they were clipped: f32 scalar; only where they are clipped by norm. */
  norm?: Tensor;
}

/** Returns an optimizer that does what `inner` does, but for `changes`: the base of those that wrap another one. */
export function around(inner: Optimizer, changes: Pick<Optimizer, "name"> & Partial<Optimizer>): Optimizer {
  return {
    options: { inner: described(inner) },
    slots: (params) => inner.slots(params),
    scalars: (step, learningRate) => inner.scalars(step, learningRate),
    update: (params, gradients, slots, scalars) => inner.update(params, gradients, slots, scalars),
    kindOf: (parameter) => inner.kindOf?.(parameter) ?? "",
    names: inner.names ?? [],
    ...changes,
  };
}

/** An optimizer's name and options, as JSON. */
export function described({ name, options }: Optimizer): { readonly [name: string]: unknown } {
  return { name, ...options };
}

/** Refuses a value that is not an optimizer; `who` begins the message. */
export function expectOptimizer(who: string, optimizer: Optimizer): void {
  expectObject(`${who}: the optimizer`, optimizer, {
    name: "string",
    options: "object",
    slots: "function",
    scalars: "function",
    update: "function",
    kindOf: "function?",
    names: "array?",
  });
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

/**
 * Starting values of zero with the shape and dtype of each leaf: a slot of an optimizer of one's own.
 *
 * @example
 * ```ts
 * import { HostArray, optim, treeLeaves } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const slot = optim.initialZeros({ weight: new HostArray(new Float32Array(8), [4, 2]) });
 * assertEquals(treeLeaves(slot).map(({ shape }) => shape), [[4, 2]]);
 * ```
 */
export function initialZeros(params: Tree<Aval>): Tree<Initial> {
  return treeMap(
    (aval: Aval) => {
      requireAval(aval, "initialZeros");
      const { shape, dtype } = aval;
      return new Initial(shape, () => new hostArrays[dtype](sizeOf(shape)), dtype);
    },
    params,
  );
}
