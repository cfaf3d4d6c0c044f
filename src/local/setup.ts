import { LocalgradError } from "../base/errors.ts";
import { expectObject, type Kinds } from "../base/expect.ts";
import type { Precision } from "../compile/plan.ts";
import type { Model } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import { shapeAfter } from "../nn/layer.ts";
import { merge, type Named, nest } from "../nn/named.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Auxiliary, Boundary, Method } from "./method.ts";
import { expectMethod } from "./method.ts";
import { type Module, type Modules, type Partition, partition, whole } from "./partition.ts";

/** All that training changes. Trees by PyTorch's names; what hangs on boundary i is under `local.i`. */
export type TrainState<T> = {
  /** What is trained: the network and the auxiliary networks. */
  readonly params: Named<T>;
  /** What is carried along: running statistics and averages. */
  readonly state: Named<T>;
  /** The optimizer's slots, each a tree like `params`. */
  readonly optimizer: Named<T>;
};

/** A module with what hangs on the boundary behind it; the last has nothing there, being judged by the network's head. */
export interface LocalModule extends Module {
  /** The auxiliary network and loss. */
  readonly auxiliary?: Auxiliary;
  /** The place in the network's parameters of the block behind the boundary. */
  readonly next?: string;
  /** What its update changes: its own parameters and its auxiliary network's, by their names. */
  readonly params: Named<Initial>;
  /** What goes with those. */
  readonly state: Named<Initial>;
}

/** A network, cut and equipped by a method, with an optimizer: all that a training step is made of. */
export interface Setup {
  /** The network. */
  readonly model: Model;
  /** What trains it. */
  readonly method: Method;
  /** What moves its parameters. */
  readonly optimizer: Optimizer;
  /** What it is computed in; default the device's own choice. */
  readonly precision?: Precision;
  /** How it is cut. */
  readonly partition: Partition;
  /** Its modules, equipped. */
  readonly modules: readonly LocalModule[];
  /** How everything starts. */
  readonly initial: TrainState<Initial>;
}

/** What to train, and how. */
export interface SetupOptions {
  /** The network. */
  model: Model;
  /** How to cut it; default 1, which is end to end. */
  modules?: Modules;
  /** What trains the modules. */
  method: Method;
  /** What moves the parameters. */
  optimizer: Optimizer;
  /**
   * What it is computed in: `f32`, `tf32` (products with operands rounded to 10 bits), or `bf16` (activations and the
   * weights they meet in bfloat16; what is trained, statistics, averages, losses and sums in f32); default the
   * device's own choice: `tf32` on CUDA cards that have it, as PyTorch's convolutions, else `f32`.
   */
  precision?: Precision;
}

/**
 * Cuts a network and equips its boundaries; refuses what the method cannot do. Nothing is allocated.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const { modules } = local.setup({
 *   model: models.resnet8(),
 *   modules: 3,
 *   method: local.dgl(),
 *   optimizer: optim.sgd(),
 * });
 * assertEquals(modules.map((module) => module.name), ["layer1.0", "layer2.0", "layer3.0"]);
 * ```
 */
export function setup(options: SetupOptions): Setup {
  expectObject("setup", options, SETUP_KINDS);
  const { model, modules = 1, method, optimizer, precision } = options;
  expectMethod("setup", method);
  expectObject("setup: the optimizer", optimizer, {
    name: "string",
    options: "object",
    slots: "function",
    scalars: "function",
    update: "function",
  });
  const cut = partition(model, modules);
  const own = method.auxiliary === undefined ? whole(model) : cut;
  const partitioned = method.recut?.(model, own) ?? own;
  const equipped = equip(model, partitioned, method);
  const params = merge(...equipped.map((module) => module.params));
  const state = merge(...equipped.map((module) => module.state));
  return {
    model,
    method,
    optimizer,
    ...(precision === undefined ? {} : { precision }),
    partition: partitioned,
    modules: equipped,
    initial: { params, state, optimizer: optimizer.slots(params) as Named<Initial> },
  };
}

function equip(model: Model, { requested, modules }: Partition, method: Method): LocalModule[] {
  let features: readonly number[] = [model.input.height, model.input.width, model.input.channels];
  return modules.map((module, index): LocalModule => {
    features = shapeAfter(module.layer, features);
    if (index < modules.length - 1) {
      const behind = modules.slice(index + 1).flatMap(({ blocks }) => blocks);
      const [next] = behind;
      const count = modules.length - 1;
      return equipModule(method, { index, count, requested, model, module, next, behind, features });
    }
    if (features.length !== 1 || features[0] !== model.classes) {
      throw new LocalgradError(
        `${model.name}: its head gives [${features.join(",")}] for each image, not ${model.classes} logits`,
      );
    }
    return lastModule(module);
  });
}

/** A module with what a method hangs on the boundary behind it. */
export function equipModule(method: Method, boundary: Boundary): LocalModule {
  const { module, index, next } = boundary;
  const auxiliary = method.auxiliary!(boundary);
  return {
    ...module,
    auxiliary,
    next: next.name,
    params: merge(module.layer.params, nest(`local.${index}`, auxiliary.params)),
    state: merge(module.layer.state, nest(`local.${index}`, auxiliary.state)),
  };
}

/** The module that the network's own head judges. */
export function lastModule(module: Module): LocalModule {
  return { ...module, params: module.layer.params, state: module.layer.state };
}

/** Refuses what `setup` did not make; `who` begins the message. */
export function expectSetup(who: string, setup: Setup): void {
  expectObject(`${who}: the setup`, setup, {
    model: "object",
    method: "object",
    optimizer: "object",
    precision: "string?",
    partition: "object",
    modules: "array",
    initial: "object",
  });
}

/** What the options of `setup` are. */
export const SETUP_KINDS = {
  model: "object",
  modules: "any?",
  method: "object",
  optimizer: "object",
  precision: "string?",
} as const satisfies Kinds<SetupOptions>;
