import { vjp } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import { descend, merge, type Named, nest, select } from "../nn/named.ts";
import type { Optimizer, Scalars } from "../optim/optimizer.ts";
import { full, stack } from "../trace/functions.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { correctCount, crossEntropy } from "./losses.ts";
import type { Batch, Variables } from "./method.ts";
import { moduleScope, placeOf, withAuxiliary } from "./places.ts";
import { activationsIn } from "./precision.ts";
import type { LocalModule, Setup, TrainState } from "./setup.ts";

/** The result of a training step. */
export interface StepResult {
  /** The training state after the step. */
  readonly train: TrainState<Tensor>;
  /** The loss of each module: f32 `[modules]`. */
  readonly losses: Tensor;
  /** The number of images that the network's own head classified correctly: f32 scalar. */
  readonly correct: Tensor;
}

/**
 * Traces one training step. For each module in turn: the forward pass to the local loss, the backward pass, the method's
 * `follow` (averages) and the update; then the next module's forward pass, from features through which no gradient
 * flows. In this order a module's activations are dead before the next module allocates its own. The method's
 * `afterStep` comes last.
 *
 * @param setup The network, its modules and its optimizer.
 * @param train Parameters, state and optimizer slots.
 * @param batch Images and labels.
 * @param scalars The optimizer's scalars of this step.
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
    scope(moduleScope(module.index), () => {
      const trained = trainModule(module, optimizer, train, h, batch, scalars);
      after.push(trained.after);
      losses.push(trained.loss);
      h = trained.h.stopGradient();
      if (module.auxiliary === undefined) correct = correctCount(trained.h, batch.labels);
    });
  }
  if (correct === undefined) {
    throw new LocalgradError("trainStep: the last module must have no auxiliary network; use setup()");
  }
  const joined = (part: keyof TrainState<Tensor>) =>
    select(merge(...after.map((each) => each[part])), train[part]);
  const stepped = { params: joined("params"), state: joined("state"), optimizer: joined("optimizer") };
  return {
    train: scope("after step", () => afterStep(modules, stepped)),
    losses: stack(losses),
    correct,
  };
}

/** Trains one module on features `input`; returns its output `h`, its loss and the values that it changed. */
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

/** Runs a module's forward pass to its loss; also returns the pullback of the loss. */
function forward(
  { layer, auxiliary, index }: LocalModule,
  { params, state }: Variables,
  input: Tensor,
  batch: Batch,
  next: Variables,
) {
  const place = placeOf(index);
  let h!: Tensor;
  let after!: Named<Tensor>;
  const [loss, pullback] = scope("forward", () =>
    vjp((params: Named<Tensor>) => {
      const own = layer.apply(params, state, input, "train");
      h = own.y;
      if (auxiliary === undefined) {
        after = own.state;
        return crossEntropy(h, batch.labels);
      }
      const local = scope("auxiliary", () =>
        auxiliary.loss(descend(params, place), descend(state, place), h, batch, next));
      after = merge(own.state, nest(place, local.state));
      return local.loss;
    }, params));
  return { h, state: after, loss, pullback };
}

/** Returns the variables of the block after a module's boundary. */
function nextOf({ next }: LocalModule, { params, state }: Variables): Variables {
  if (next === undefined) return { params: {}, state: {} };
  return { params: descend(params, next), state: descend(state, next) };
}

function follow({ auxiliary, index }: LocalModule, state: Named<Tensor>, next: Variables): Named<Tensor> {
  if (auxiliary?.follow === undefined) return state;
  return withAuxiliary(state, index, auxiliary.follow(descend(state, placeOf(index)), next));
}

function afterStep(modules: readonly LocalModule[], stepped: TrainState<Tensor>): TrainState<Tensor> {
  return modules.reduce((train, module) => {
    const { auxiliary, index } = module;
    if (auxiliary?.afterStep === undefined) return train;
    const place = placeOf(index);
    const own = { params: descend(train.params, place), state: descend(train.state, place) };
    const after = auxiliary.afterStep(own, nextOf(module, train));
    return {
      ...train,
      params: withAuxiliary(train.params, index, after.params),
      state: withAuxiliary(train.state, index, after.state),
    };
  }, stepped);
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
    Object.keys(train.optimizer).map((slot) => [
      slot,
      select(descend(train.optimizer, slot), module.params),
    ]),
  );
  const moved = optimizer.update(params, gradients, slots, scalars);
  return { params: moved.params, state, optimizer: moved.slots as Named<Tensor> };
}
