import { vjp } from "../autograd/grad.ts";
import { descend, merge, type Named, nest, select } from "../nn/named.ts";
import type { Optimizer, Scalars, Slots } from "../optim/optimizer.ts";
import { full, stack } from "../trace/functions.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { correctCount, crossEntropy } from "./losses.ts";
import type { Batch, Variables } from "./method.ts";
import { activationsIn } from "./precision.ts";

import type { LocalModule, Setup, TrainState } from "./setup.ts";

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
