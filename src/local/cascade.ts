import { vjp } from "../autograd/grad.ts";
import { at } from "../base/at.ts";
import { descend, merge, type Named, nest, select } from "../nn/named.ts";
import { derivedKey } from "../nn/random_key.ts";
import { type SharedBatch, withSharedBatch } from "../nn/shared_batch.ts";
import type { Scalars } from "../optim/optimizer.ts";
import { full } from "../trace/functions.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { treeMap } from "../trace/tree.ts";
import { overShares, type Passed } from "./processes/share_sums.ts";
import type { Auxiliary, Cascade, Following, TrainingBatch, Variables } from "./method.ts";
import { finish, nextOf, type UpdatedModule } from "./module_update.ts";
import { moduleScope, placeOf } from "./places.ts";
import { keyed } from "./randomness.ts";
import type { LocalModule, Setup, TrainState } from "./setup.ts";
import { type Share, weightOf } from "./processes/shares.ts";

/** All modules after a step in cascades. */
export interface TrainedCascades {
  /** The modules after their updates, in order. */
  readonly updated: readonly UpdatedModule[];
  /** The loss of each module; of one that has none, that of the first cascade which trains it. */
  readonly losses: readonly Tensor[];
  /** The output of the last module for each micro-batch. */
  readonly outputs: readonly Tensor[];
  /** The gradients that have come back to the first module's output, or, of one module alone, to its input. */
  readonly gradients: readonly Tensor[];
}

/** What processes share of a batch. */
export interface CascadeExchange {
  /** The share of the batch, if gradients are to be summed over all shares. */
  readonly share?: Share;
  /** The micro-batches over all shares, if batch norm takes the statistics of those. */
  readonly together?: readonly SharedBatch[];
}

/**
 * Trains modules in overlapping cascades: the loss after a module trains it together with the modules right before it, as
 * many as `cascade.modules` says. No gradient goes further back. All gradients are those at the values that the step began
 * with.
 *
 * Micro-batches pass through the whole network one after another, because a cascade would otherwise keep the activations of
 * all of them.
 */
export function trainCascades(
  setup: Pick<Setup, "modules" | "optimizer" | "average">,
  cascade: Cascade,
  train: TrainState<Tensor>,
  inputs: readonly Tensor[],
  batches: readonly TrainingBatch[],
  scalars: Scalars<Operand>,
  { share: shared, together }: CascadeExchange = {},
): TrainedCascades {
  const { modules } = setup;
  const images = inputs.reduce((sum, { shape }) => sum + at(shape, 0), 0);
  const weight = shared === undefined ? 1 : weightOf(shared);
  const sums = new Map<LocalModule, Passed>();
  const losses: (Tensor | undefined)[] = [];
  const outputs: Tensor[] = [];
  const gradients: Tensor[] = [];
  const updated: UpdatedModule[] = [];
  let unfinished: (() => void) | undefined;

  const update = (module: LocalModule, passed: Passed): void => {
    const before = select(train.state, module.state);
    const summed = shared === undefined
      ? () => passed
      : within(module, () => overShares(passed, before, weight));
    unfinished?.();
    unfinished = () =>
      within(module, () => {
        updated.push(finish(module, setup, train, summed(), nextOf(module, train), scalars));
      });
    if (shared !== undefined) return; // the sums are on their way while the next module works
    unfinished();
    unfinished = undefined;
  };

  for (const [b, batch] of batches.entries()) {
    const input = at(inputs, b);
    const share = at(input.shape, 0) / images;
    const variablesOf = (module: LocalModule) => ({
      params: select(train.params, module.params),
      state: sums.get(module)?.state ?? select(train.state, module.state),
      next: nextOf(module, train),
    });
    const complete = (module: LocalModule, { gradients, state }: Passed) => {
      const before = sums.get(module)?.gradients;
      const sum = before === undefined ? gradients : within(module, () => added(before, gradients));
      const passed = { gradients: sum, state };
      sums.set(module, passed);
      if (b === batches.length - 1) update(module, passed);
    };
    const passes = withSharedBatch(
      together?.[b],
      () => pass(modules, cascade, variablesOf, input, batch, share * weight, complete),
    );
    outputs.push(passes.output);
    if (passes.gradient !== undefined) gradients.push(passes.gradient);
    for (const [i, loss] of passes.losses.entries()) {
      const part = share === 1 ? loss : loss?.mul(share);
      losses[i] = part === undefined ? undefined : losses[i]?.add(part) ?? part;
    }
  }
  unfinished?.();
  const lossesFrom = (index: number): Tensor[] =>
    losses.slice(index).filter((loss) => loss !== undefined).slice(0, 1);
  return { updated, losses: modules.flatMap((_, i) => lossesFrom(i)), outputs, gradients };
}

/** A module in a cascade that waits for the gradients of later losses. */
interface Open {
  readonly module: LocalModule;
  /** The gradients of its parameters known so far. */
  readonly gradients: Named<Tensor>;
  /** The gradient of its output by all losses so far. */
  readonly output?: Tensor;
  /** Its state after its passes. */
  readonly state: Named<Tensor>;
  /** Maps the gradient of its output to those of its own parameters and of its input. */
  readonly back: (output: Tensor) => readonly [Named<Tensor>, Tensor];
}

/**
 * Passes a batch through all modules. A module runs forward once. The gradient of a loss goes back through its cascade to the
 * output of the first module; that of a module's parameters takes one more pass, from the sum of all losses that train the
 * module, as soon as the last of them has come: `complete` gets it. The module's activations are then dead, so that those of
 * one cascade are alive at a time.
 */
function pass(
  modules: readonly LocalModule[],
  cascade: Cascade,
  variablesOf: (module: LocalModule) => Variables & { readonly next: Following },
  images: Tensor,
  batch: TrainingBatch,
  weight: number,
  complete: (module: LocalModule, passed: Passed) => void,
): {
  readonly losses: readonly (Tensor | undefined)[];
  readonly output: Tensor;
  readonly gradient: Tensor | undefined;
} {
  const losses: (Tensor | undefined)[] = [];
  const open: Open[] = [];
  let input = images;
  let backTo: Tensor | undefined;
  const close = () => {
    const { module, gradients, output, state, back } = at(open, 0);
    open.shift();
    const all = output === undefined ? gradients : merge(backward({ back }, module, output)[0], gradients);
    complete(module, { gradients: all, state });
  };
  for (const module of modules) {
    const own = variablesOf(module);
    const run = within(module, () => forward(module, own, input, batch));
    let gradient: Tensor | undefined; // of the input, by the loss of the cascade
    if (module.auxiliary === undefined) {
      const head = within(module, () => headLoss(run.h, batch, weight));
      const [gradients, all] = backward(run, module, head.output);
      open.push({ module, ...run, gradients });
      gradient = all.mul(cascade.weight);
      losses.push(head.loss);
    } else if (module.index + 1 >= cascade.modules) {
      const local = within(module, () => localLosses(module, own, run.h, batch, cascade, weight));
      const state = merge(run.state, nest(placeOf(module.index), local.state));
      open.push({ module, ...run, state, gradients: local.gradients, output: local.output });
      if (cascade.modules > 1) gradient = backward(run, module, local.cascaded)[1];
      losses.push(local.loss);
    } else {
      const none = nest<Tensor>(placeOf(module.index), {});
      // Later losses train it. Where only this module is planned, its output stands in for their gradient.
      const output = modules.length === 1 ? { output: run.h } : {};
      open.push({ module, ...run, ...output, gradients: none, state: merge(run.state, none) });
      losses.push(undefined);
    }
    for (let k = open.length - 2; k >= 0 && gradient !== undefined; k--) {
      const each = at(open, k);
      open[k] = { ...each, output: each.output === undefined ? gradient : each.output.add(gradient) };
      if (k > 0) gradient = backward(each, each.module, gradient)[1];
    }
    while (open.length >= cascade.modules) close();
    backTo = gradient;
    input = run.h.stopGradient();
  }
  while (open.length > 0) close();
  return { losses, output: input, gradient: backTo };
}

/** Runs a module forward. */
function forward(
  { layer, index }: LocalModule,
  { params, state }: Variables,
  input: Tensor,
  batch: TrainingBatch,
) {
  const key = derivedKey(batch.key, 2 * index);
  let after: Named<Tensor> = {};
  const [h, back] = scope("forward", () =>
    vjp(
      (params: Named<Tensor>, input: Tensor) => {
        const { y, state: next } = layer.apply(params, select(state, layer.state), input, "train", key);
        after = next;
        return y;
      },
      select(params, layer.params),
      input,
    ));
  return { h, state: after, back };
}

/** The gradients of a module's parameters and of its input; what of them is not read is not computed. */
function backward({ back }: Pick<Open, "back">, module: LocalModule, output: Tensor) {
  return within(module, () => scope("backward", () => back(output)));
}

/** The loss of the network's head, and the gradient of its output. */
function headLoss(h: Tensor, batch: TrainingBatch, weight: number) {
  const [loss, pullback] = scope("forward", () => vjp((h: Tensor) => batch.lossOf(h), h));
  const [output] = scope("backward", () => pullback(full([], weight)));
  return { loss, output };
}

/** The losses at a boundary, one after the other, with their gradients. */
function localLosses(
  { auxiliary, index }: LocalModule,
  { params, state, next }: Variables & { readonly next: Following },
  h: Tensor,
  batch: TrainingBatch,
  cascade: Cascade,
  weight: number,
) {
  if (auxiliary === undefined) throw new Error("a module before the last has an auxiliary network");
  const place = placeOf(index);
  let after = descend(state, place);
  const drawn = keyed(batch, 2 * index + 1);
  const run = (share: number, f: NonNullable<Auxiliary["alone"]>, number: number) => {
    const own = keyed(drawn, number);
    const [loss, pullback] = scope("forward", () =>
      vjp(
        (params: Named<Tensor>, h: Tensor) => {
          const { loss, state } = scope("auxiliary", () => f.call(auxiliary, params, after, h, own, next));
          after = state;
          return loss;
        },
        descend(params, place),
        h,
      ));
    const [gradients, output] = scope("backward", () => pullback(full([], share * weight)));
    return { loss: loss.mul(share), gradients, output };
  };
  const together = run(cascade.weight, auxiliary.loss, 0);
  const alone = auxiliary.alone === undefined ? undefined : run(1 - cascade.weight, auxiliary.alone, 1);
  return {
    loss: alone === undefined ? together.loss : together.loss.add(alone.loss),
    cascaded: together.output,
    output: alone === undefined ? together.output : together.output.add(alone.output),
    gradients: nest(
      place,
      alone === undefined ? together.gradients : added(together.gradients, alone.gradients),
    ),
    state: after,
  };
}

/** Traces in the scope of a module. */
function within<T>({ index }: LocalModule, f: () => T): T {
  return scope(moduleScope(index), f);
}

function added(a: Named<Tensor>, b: Named<Tensor>): Named<Tensor> {
  return treeMap((a: Tensor, b: Tensor) => a.add(b), a, b) as Named<Tensor>;
}
