import { expectObject } from "../expect.ts";
import { vjp } from "../autograd/grad.ts";
import type { Precision } from "../compile/plan.ts";
import { LocalgradError } from "../errors.ts";
import type { Model } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import { shapeAfter } from "../nn/layer.ts";
import { descend, merge, type Named, nest, select } from "../nn/named.ts";
import type { Optimizer, Scalars, Slots } from "../optim/optimizer.ts";
import { full, stack } from "../trace/functions.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { correctCount, crossEntropy } from "./losses.ts";
import type { Auxiliary, Batch, Boundary, Method, Variables } from "./method.ts";
import { expectMethod, SETUP_KINDS } from "./expect_setup.ts";
import { activationsIn } from "./precision.ts";
import { type Module, type Modules, type Partition, partition, whole } from "./partition.ts";

/** All that training changes. Trees by PyTorch's names; what hangs on boundary i is under `local.i`. */
export interface TrainState<T> {
  /** What is trained: the network and the auxiliary networks. */
  readonly params: Named<T>;
  /** What is carried along: running statistics and averages. */
  readonly state: Named<T>;
  /** The optimizer's slots, each a tree like `params`. */
  readonly optimizer: Named<T>;
}

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

/** What a training step gives. */
export interface StepResult {
  /** The state after it. */
  readonly train: TrainState<Tensor>;
  /** The loss of each module: f32 `[modules]`. */
  readonly losses: Tensor;
  /** How many images the network's own head classified correctly: f32 scalar. */
  readonly correct: Tensor;
}

/**
 * One training step, within a traced function. Module by module: forward to the local loss, backward, what the method
 * does after it (averages), update; then the next module's forward, from features through which no gradient flows. In
 * this order a module's activations are dead before the next module's are made. Last comes what the method does after
 * the step.
 */
export function trainStep(
  { modules, optimizer, precision }: Setup,
  train: TrainState<Tensor>,
  batch: Batch,
  scalars: Scalars<Operand>,
): StepResult {
  const losses: Tensor[] = [];
  const after: TrainState<Tensor>[] = [];
  let h = batch.x.cast(activationsIn(precision));
  let correct: Tensor | undefined;
  for (const module of modules) {
    scope(`module ${module.index + 1}`, () => {
      const trained = trainModule(module, optimizer, train, h, batch, scalars);
      after.push(trained.after);
      losses.push(trained.loss);
      h = trained.h.stopGradient();
      if (module.auxiliary === undefined) correct = correctCount(trained.h, batch.labels);
    });
  }
  const joined = (part: keyof TrainState<Tensor>) =>
    select(merge(...after.map((each) => each[part])), train[part]);
  const stepped = { params: joined("params"), state: joined("state"), optimizer: joined("optimizer") };
  return {
    train: scope("after step", () => afterStep(modules, stepped)),
    losses: stack(losses),
    correct: correct!,
  };
}

/** One module's part of a training step, from features `input`: its output `h`, its loss, what it changed. */
export function trainModule(
  module: LocalModule,
  optimizer: Optimizer,
  train: TrainState<Tensor>,
  input: Tensor,
  batch: Batch,
  scalars: Scalars<Operand>,
): { after: TrainState<Tensor>; loss: Tensor; h: Tensor } {
  const params = select(train.params, module.params);
  const state = select(train.state, module.state);
  const next = nextOf(module, train);
  const run = forward(module, { params, state }, input, batch, next);
  const [gradients] = scope("backward", () => run.pullback(full([], 1)));
  const kept = scope("follow", () => follow(module, run.state, next));
  const after = scope("update", () => update(optimizer, module, train, params, gradients, kept, scalars));
  return { after, loss: run.loss, h: run.h };
}

/** A module's forward pass to its loss, with the way back. */
function forward(
  module: LocalModule,
  { params, state }: Variables,
  input: Tensor,
  batch: Batch,
  next: Variables,
) {
  let h!: Tensor;
  let after!: Named<Tensor>;
  const [loss, pullback] = scope("forward", () =>
    vjp((params: Named<Tensor>) => {
      const own = module.layer.apply(params, state, input, "train");
      h = own.y;
      if (module.auxiliary === undefined) {
        after = own.state;
        return crossEntropy(h, batch.labels);
      }
      const place = `local.${module.index}`;
      const local = scope("auxiliary", () =>
        module.auxiliary!.loss(descend(params, place), descend(state, place), h, batch, next));
      after = merge(own.state, nest(place, local.state));
      return local.loss;
    }, params));
  return { h, state: after, loss, pullback };
}

/** The block behind a module's boundary. */
function nextOf({ next }: LocalModule, { params, state }: Variables): Variables {
  if (next === undefined) return { params: {}, state: {} };
  return { params: descend(params, next), state: descend(state, next) };
}

function follow({ auxiliary, index }: LocalModule, state: Named<Tensor>, next: Variables): Named<Tensor> {
  if (auxiliary?.follow === undefined) return state;
  return withLocal(state, index, auxiliary.follow(descend(state, `local.${index}`), next));
}

function afterStep(modules: readonly LocalModule[], stepped: TrainState<Tensor>): TrainState<Tensor> {
  return modules.reduce((train, module) => {
    const { auxiliary, index } = module;
    if (auxiliary?.afterStep === undefined) return train;
    const [params, state] = [train.params, train.state].map((tree) => descend(tree, `local.${index}`));
    const after = auxiliary.afterStep({ params, state }, nextOf(module, train));
    return {
      ...train,
      params: withLocal(train.params, index, after.params),
      state: withLocal(train.state, index, after.state),
    };
  }, stepped);
}

/** A tree with another subtree for what hangs on a boundary. */
function withLocal(tree: Named<Tensor>, index: number, local: Named<Tensor>): Named<Tensor> {
  return { ...tree, local: { ...tree["local"] as Named<Tensor>, [index]: local } };
}

function update(
  optimizer: Optimizer,
  module: LocalModule,
  train: TrainState<Tensor>,
  params: Named<Tensor>,
  gradients: Named<Tensor>,
  state: Named<Tensor>,
  scalars: Scalars<Operand>,
): TrainState<Tensor> {
  const slots = Object.fromEntries(
    Object.entries(train.optimizer).map((
      [slot, tree],
    ) => [slot, select(tree as Named<Tensor>, module.params)]),
  );
  const moved = optimizer.update(params, gradients, slots, scalars);
  return {
    params: moved.params as Named<Tensor>,
    state,
    optimizer: moved.slots as Slots<Tensor> as Named<Tensor>,
  };
}
