import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject, type Kinds } from "../base/expect.ts";
import type { Precision } from "../compile/plan.ts";
import type { Model } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import { shapeAfter } from "../nn/layer.ts";
import { merge, type Named, nest } from "../nn/named.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Auxiliary, Boundary, Method } from "./method.ts";
import { auxiliaryAt, expectMethod } from "./method.ts";
import { type Module, type Modules, type Partition, partition, whole } from "./partition.ts";
import { placeOf } from "./places.ts";

/** Everything that training changes, as trees with PyTorch's names; auxiliary network i is under `local.i`. */
export type TrainState<T> = {
  /** Trained values: of the network and of the auxiliary networks. */
  readonly params: Named<T>;
  /** Values that are updated but not trained: running statistics and averages. */
  readonly state: Named<T>;
  /** The optimizer's slots, each a tree like `params`. */
  readonly optimizer: Named<T>;
};

/** A module with the auxiliary network after it; the last has none, because the network's own head gives its loss. */
export interface LocalModule extends Module {
  /** The auxiliary network and loss. */
  readonly auxiliary?: Auxiliary;
  /** The path in the network's parameters of the block after the boundary. */
  readonly next?: string;
  /** The parameters that its update changes: its own and its auxiliary network's, by name. */
  readonly params: Named<Initial>;
  /** The state that goes with them. */
  readonly state: Named<Initial>;
}

/** A network, cut into modules with auxiliary networks, and an optimizer: everything a training step needs. */
export interface Setup {
  /** The network. */
  readonly model: Model;
  /** The training method. */
  readonly method: Method;
  /** The optimizer of its parameters. */
  readonly optimizer: Optimizer;
  /** The precision; default the device's own choice. */
  readonly precision?: Precision;
  /** The cut into modules. */
  readonly partition: Partition;
  /** Its modules with their auxiliary networks. */
  readonly modules: readonly LocalModule[];
  /** The starting values. */
  readonly initial: TrainState<Initial>;
}

/** Options of {@link setup}. */
export interface SetupOptions {
  /** The network. */
  model: Model;
  /** The cut into modules; default 1, which is end to end. */
  modules?: Modules;
  /** The training method. */
  method: Method;
  /** The optimizer of the parameters. */
  optimizer: Optimizer;
  /**
   * The precision: `f32`, `tf32` (products of operands rounded to 10 mantissa bits), or `bf16` (activations, and weights
   * where they meet activations, in bfloat16; parameters, statistics, averages, losses and sums in f32). Default: the
   * device's own choice, which is `tf32` on CUDA cards that have it, as for PyTorch's convolutions, else `f32`.
   */
  precision?: Precision;
}

/**
 * Cuts a network into modules and gives each boundary its auxiliary network. Allocates nothing.
 *
 * @throws {LocalgradError} if the network or the method does not allow the cut.
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
      const next = at(behind, 0);
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

/** Returns the module before a boundary with a method's auxiliary network. */
export function equipModule(method: Method, boundary: Boundary): LocalModule {
  const { module, index, next } = boundary;
  const auxiliary = auxiliaryAt(method, boundary);
  const place = placeOf(index);
  return {
    ...module,
    auxiliary,
    next: next.name,
    params: merge(module.layer.params, nest(place, auxiliary.params)),
    state: merge(module.layer.state, nest(place, auxiliary.state)),
  };
}

/** Returns the last module, whose loss is that of the network's own head. */
export function lastModule(module: Module): LocalModule {
  return { ...module, params: module.layer.params, state: module.layer.state };
}

/** Refuses a value that is not a setup; `who` begins the message. */
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

/** The kinds of the options of {@link setup}. */
export const SETUP_KINDS = {
  model: "object",
  modules: "any?",
  method: "object",
  optimizer: "object",
  precision: "string?",
} as const satisfies Kinds<SetupOptions>;
