import { vjp } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import { hasContexts } from "../models/context.ts";
import { descend, merge, type Named, nest } from "../nn/named.ts";
import { derivedKey } from "../nn/random_key.ts";
import { full } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import type { Following, Given, TrainingBatch, Variables } from "./method.ts";
import { placeOf } from "./places.ts";
import { keyed } from "./randomness.ts";
import type { LocalModule } from "./setup.ts";

/** A module after its forward pass. */
export interface Forward {
  /** What it gives to the next module. No gradient flows through it. */
  readonly gives: Given;
  /** Its state, after the pass. */
  readonly state: Named<Tensor>;
  /** Its loss: a scalar. */
  readonly loss: Tensor;
  /** Maps a cotangent of the loss to those of its parameters. */
  pullback(cotangent: Tensor): readonly [Named<Tensor>];
}

/** Runs a module forward to its loss. */
export function forward(
  module: LocalModule,
  { params, state }: Variables,
  given: Given,
  batch: TrainingBatch,
  next: Following,
): Forward {
  let gives!: Given;
  let after!: Named<Tensor>;
  const [loss, pullback] = scope("forward", () =>
    vjp((params: Named<Tensor>) => {
      const passed = passedBy(module, params, state, given, batch, next);
      after = passed.state;
      gives = {
        h: passed.h.stopGradient(),
        gradient: passed.gradient?.stopGradient(),
        earlier: passed.earlier?.map((each) => each.stopGradient()),
      };
      return passed.loss;
    }, params));
  return { gives, state: after, loss, pullback };
}

/** A module's output, its loss, its state and, where the next module needs it, the gradient of the loss at the output. */
interface Passed {
  readonly h: Tensor;
  readonly loss: Tensor;
  readonly state: Named<Tensor>;
  readonly gradient?: Tensor;
  /** What the next module takes as inputs of earlier ones. */
  readonly earlier?: readonly Tensor[] | undefined;
}

function passedBy(
  module: LocalModule,
  params: Named<Tensor>,
  state: Named<Tensor>,
  given: Given,
  batch: TrainingBatch,
  next: Following,
): Passed {
  const { layer, auxiliary, index, reconcile } = module;
  const place = placeOf(index);
  const key = derivedKey(batch.key, 2 * index);
  let own!: Named<Tensor>;
  let local: Named<Tensor> = {};
  let { earlier } = given;
  const output = (x: Tensor): Tensor => {
    if (!hasContexts(layer)) {
      const { y, state: after } = layer.apply(params, state, x, "train", key);
      own = after;
      return y;
    }
    const supply = { image: batch.x.cast(x.dtype), earlier: earlier ?? [] };
    const applied = layer.applyIn(params, state, x, "train", supply, key);
    own = applied.state;
    earlier = applied.supply.earlier;
    return applied.y;
  };
  const lossOf = (h: Tensor): Tensor => {
    if (auxiliary === undefined) return batch.lossOf(h);
    return scope("auxiliary", () => {
      const own = keyed(batch, 2 * index + 1);
      const computed = auxiliary.loss(descend(params, place), descend(state, place), h, own, next);
      local = nest(place, computed.state);
      return computed.loss;
    });
  };
  if (reconcile === undefined || (index === 0 && auxiliary === undefined)) {
    const h = output(given.h);
    const loss = lossOf(h);
    return { h, loss, state: merge(own, local), earlier };
  }
  if (index === 0) {
    const h = output(given.h);
    const [loss, back] = vjp(lossOf, h);
    const [gradient] = back(full([], 1));
    return { h, loss, state: merge(own, local), gradient, earlier };
  }
  if (given.gradient === undefined) {
    throw new LocalgradError(
      "trainModule: the method reconciles gradients, and there is none of the module before",
    );
  }
  const [h, throughLayer] = vjp(output, given.h);
  const [loss, throughLoss] = vjp(lossOf, h);
  const [gradient] = throughLoss(full([], 1));
  const [atInput] = throughLayer(gradient);
  const term = scope("reconcile", () => reconcile(given.gradient!, atInput));
  return { h, loss: loss.add(term), state: merge(own, local), gradient, earlier };
}
