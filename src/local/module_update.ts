import { descend, type Named, select } from "../nn/named.ts";
import type { Scalars } from "../optim/optimizer.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { averageAfter, AVERAGED } from "./average.ts";
import type { Passed } from "./processes/share_sums.ts";
import type { Following, Variables } from "./method.ts";
import { placeOf, withAuxiliary } from "./places.ts";
import type { LocalModule, Setup, TrainState } from "./setup.ts";

/** A module after its update. */
export interface UpdatedModule {
  /** The values that it changed. */
  readonly after: TrainState<Tensor>;
  /** The norm of its gradients, if the optimizer clips by norm. */
  readonly norm?: Tensor | undefined;
}

/** Averages and updates a module after its backward pass; `next` holds the block that its auxiliary network tracks. */
export function finish(
  module: LocalModule,
  setup: Pick<Setup, "optimizer" | "average">,
  train: TrainState<Tensor>,
  { gradients, state }: Passed,
  next: Following,
  scalars: Scalars<Operand>,
): UpdatedModule {
  const params = select(train.params, module.params);
  const kept = scope("follow", () => follow(module, state, next));
  return scope("update", () => update(setup, module, train, params, gradients, kept, scalars));
}

/** Returns the variables of the block that a module's auxiliary network tracks, the one after its boundary, and of others. */
export function nextOf({ next }: LocalModule, { params, state }: Variables): Following {
  if (next === undefined) return { params: {}, state: {} };
  const block = (name: string) => ({ params: descend(params, name), state: descend(state, name) });
  return { ...block(next), beyond: { block, auxiliary: (index) => block(placeOf(index)) } };
}

function follow({ auxiliary, index }: LocalModule, state: Named<Tensor>, next: Following): Named<Tensor> {
  if (auxiliary?.follow === undefined) return state;
  return withAuxiliary(state, index, auxiliary.follow(descend(state, placeOf(index)), next));
}

function update(
  { optimizer, average }: Pick<Setup, "optimizer" | "average">,
  module: LocalModule,
  train: TrainState<Tensor>,
  params: Named<Tensor>,
  gradients: Named<Tensor>,
  state: Named<Tensor>,
  scalars: Scalars<Operand>,
): UpdatedModule {
  const own = optimizer.slots(module.params) as Named<unknown>;
  const moved = optimizer.update(params, gradients, select(train.optimizer, own), scalars);
  const slots = moved.slots as Named<Tensor>;
  const before = descend(train.optimizer, AVERAGED);
  const averages = average === undefined
    ? slots
    : { ...slots, [AVERAGED]: averageAfter(module, before, moved.params, state, scalars) };
  return { after: { params: moved.params, state, optimizer: averages }, norm: moved.norm };
}
