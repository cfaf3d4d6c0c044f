import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { type Context, supplyOf } from "../models/context.ts";
import { descend, merge, type Named, select } from "../nn/named.ts";
import { derivedKey } from "../nn/random_key.ts";
import { type SharedBatch, withSharedBatch } from "../nn/shared_batch.ts";
import type { Scalars } from "../optim/optimizer.ts";
import { full, stack } from "../trace/functions.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { treeMap } from "../trace/tree.ts";
import { batchWeights } from "./batch_weights.ts";
import { nextBlock, receiveFeatures, sendBlock, sendFeatures, type Tracked } from "./processes/exchange.ts";
import { overShares, type Passed, sumOverShares } from "./processes/share_sums.ts";
import { trainCascades } from "./cascade.ts";
import { forward } from "./forward.ts";
import { type Loss, withLoss } from "./loss.ts";
import { correctCount, correctPositions, squaredErrors } from "./losses.ts";
import type { Batch, Following, Given, TrainingBatch } from "./method.ts";
import { microBatches } from "./micro_batches.ts";
import { finish, nextOf, type UpdatedModule } from "./module_update.ts";
import { moduleScope, placeOf, withAuxiliary } from "./places.ts";
import { activationsIn } from "./precision.ts";
import { keyIn, withKey } from "./randomness.ts";
import type { LocalModule, Setup, TrainState } from "./setup.ts";
import { type Share, sharedBatches, weightOf } from "./processes/shares.ts";

/** The result of a training step. */
export interface StepResult {
  /** The training state after the step. */
  readonly train: TrainState<Tensor>;
  /** The loss of each module: f32 `[modules]`. */
  readonly losses: Tensor;
  /**
   * The number of images that the network's own head classified correctly; of a regression, the sum of their
   * squared errors: f32 scalar.
   */
  readonly score: Tensor;
  /** The norm of each module's gradients before they were clipped, if the optimizer clips by norm: f32 `[modules]`. */
  readonly norms?: Tensor;
}

/**
 * Traces one training step. For each module in turn: the forward pass to the local loss, the backward pass, the method's
 * `follow` (averages) and the update; then the next module's forward pass, from features through which no gradient
 * flows. In this order a module's activations are dead before the next module allocates its own. The method's
 * `afterStep` comes last. With `accumulate`, a module passes forward and backward for each micro-batch in turn.
 *
 * Where a method trains cascades of modules, a module's backward pass and update follow those of the modules that it is
 * trained with, see `trainCascades`.
 *
 * A setup of `partOf` is one process's of several. It receives features and passes its last on before that module's
 * backward pass. Where processes share a batch, a module's gradients are summed over them while the next module passes
 * forward and backward, and its update follows that.
 *
 * @param setup The network, its modules and its optimizer.
 * @param train Parameters, state and optimizer slots.
 * @param batch Images and labels; of a batch that is shared, this process's.
 * @param scalars The optimizer's scalars of this step; with an average of weights, those of {@link stepScalars}.
 * @param share Which images of the whole batch those are; default all.
 * @param tracked The block of the next process that the last module tracks, if the exchange is stale.
 */
export function trainStep(
  setup: Setup,
  train: TrainState<Tensor>,
  batch: Batch,
  scalars: Scalars<Operand>,
  share?: Share,
  tracked?: Tracked,
): StepResult {
  const { modules, precision, accumulate, loss, part } = setup;
  const losses: Tensor[] = [];
  const updated: UpdatedModule[] = [];
  const together = part !== undefined && share !== undefined && setup.batchNorm === "synchronised"
    ? sharedBatches(share, part.layout.data, part.place.data, accumulate)
    : undefined;
  // Every process and every micro-batch has a key of its own.
  const key = derivedKey(keyIn(scalars), part?.place.data ?? 0);
  const exchanged = part !== undefined && part.layout.data > 1 && share !== undefined ? { share } : {};
  const parts = microBatches(batch, together?.length ?? accumulate);
  const weights = batchWeights(loss, batch, exchanged.share, parts.length > 1);
  const batches = parts.map((each, i) => withKey(withLoss(each, loss, weights), derivedKey(key, i)));
  const dtype = activationsIn(precision);
  let given: readonly Given[] = part?.input === undefined
    ? batches.map(({ x }) => firstGiven(x.cast(dtype), setup.model.contexts))
    : receiveFeatures(part, batches.map(({ labels }) => at(labels.shape, 0)), dtype);
  const { cascade } = setup.method;
  if (cascade !== undefined && modules.length > 1) {
    const shared = { ...exchanged, ...(together === undefined ? {} : { together }) };
    const inputs = given.map(({ h }) => h);
    const { outputs, ...trained } = trainCascades(setup, cascade, train, inputs, batches, scalars, shared);
    return stepped(
      setup,
      train,
      { ...trained, score: scoreOf(outputs, batches, setup.loss) },
      share,
      tracked,
    );
  }
  let score: Tensor | undefined;
  let unfinished: (() => void) | undefined;
  for (const module of modules) {
    const within = <T>(f: () => T): T => scope(moduleScope(module.index), f);
    const isLast = module === modules.at(-1);
    const exchange: ModuleExchange = {
      ...(isLast && part?.reads !== undefined ? { next: nextBlock(part, "before", tracked) } : {}),
      ...(isLast && part !== undefined ? { passOn: (own, index) => sendFeatures(part, own, index) } : {}),
      ...exchanged,
      ...(together === undefined ? {} : { together }),
    };
    const passed = within(() => pass(module, train, given, batches, exchange));
    losses.push(passed.loss);
    given = passed.gives;
    if (module.auxiliary === undefined) {
      score = within(() => scoreOf(given.map(({ h }) => h), batches, setup.loss));
    }
    unfinished?.();
    unfinished = () =>
      within(() => {
        const finished = finish(module, setup, train, passed.summed(), passed.next, scalars);
        updated.push(finished);
        if (part !== undefined && module === modules[0]) sendBlock(part, finished.after);
      });
    if (exchange.share !== undefined) continue; // the sums are on their way while the next module works
    unfinished();
    unfinished = undefined;
  }
  unfinished?.();
  if (score === undefined && part?.reads === undefined) {
    throw new LocalgradError("trainStep: the last module must have no auxiliary network; use setup()");
  }
  return stepped(setup, train, { updated, losses, score: score ?? full([], 0) }, share, tracked);
}

/** The result of a step that left modules, losses and a score. */
function stepped(
  setup: Setup,
  train: TrainState<Tensor>,
  { updated, losses, score }: {
    readonly updated: readonly UpdatedModule[];
    readonly losses: readonly Tensor[];
    readonly score: Tensor;
  },
  share: Share | undefined,
  tracked: Tracked | undefined,
): StepResult {
  const joined = (part: keyof TrainState<Tensor>) =>
    select(merge(...updated.map(({ after }) => after[part])), train[part]);
  const after = { params: joined("params"), state: joined("state"), optimizer: joined("optimizer") };
  const norms = updated.flatMap(({ norm }): Tensor[] => norm === undefined ? [] : [norm]);
  return {
    train: scope("after step", () => afterStep(setup, after, tracked)),
    ...measured(setup, stack(losses), score, share),
    ...(norms.length === updated.length ? { norms: stack(norms) } : {}),
  };
}

/** What the first module takes: the images, which are also the first of the earlier inputs that contexts read. */
function firstGiven(h: Tensor, contexts: readonly Context[] | undefined): Given {
  return contexts === undefined ? { h } : { h, earlier: supplyOf(h, contexts).earlier };
}

/**
 * The score of outputs: the number that are correct; of a regression, the sum of their squared errors; where an input has
 * a label for each position, the fraction of those that are correct, times the inputs.
 */
function scoreOf(outputs: readonly Tensor[], batches: readonly Batch[], loss: Loss | undefined): Tensor {
  const scores = outputs.map((h, i) => {
    const { labels } = at(batches, i);
    if (labels.dtype === "f32") return squaredErrors(h, labels).sum();
    return labels.rank > 1 ? correctPositions(h, labels, loss?.ignored) : correctCount(h, labels);
  });
  return scores.reduce((a, b) => a.add(b));
}

/** The losses and the score; those of the whole batch, if it is shared. */
function measured(
  { part }: Setup,
  losses: Tensor,
  score: Tensor,
  share: Share | undefined,
): Pick<StepResult, "losses" | "score"> {
  if (part === undefined || part.layout.data === 1 || share === undefined) return { losses, score };
  const own = [losses.mul(weightOf(share)), share.copies > 1 ? score.mul(1 / share.copies) : score];
  const sums = sumOverShares(own);
  return { losses: at(sums, 0), score: at(sums, 1) };
}

/** The result of training one module. */
export interface TrainedModule {
  /** The values that it changed. */
  readonly after: TrainState<Tensor>;
  /** The norm of its gradients, if the optimizer clips by norm. */
  readonly norm?: Tensor | undefined;
  /** Its loss. */
  readonly loss: Tensor;
  /** What it gives to the next module for each micro-batch. */
  readonly gives: readonly Given[];
}

/** What one module's training exchanges with other processes. */
export interface ModuleExchange {
  /** The variables of the block after its boundary, where `train` does not have them. */
  readonly next?: Following;
  /** Takes what it gives for each micro-batch, before the backward pass. */
  passOn?(gives: Given, index: number): void;
  /** The share of the batch, if its gradients are to be summed over all shares. */
  readonly share?: Share;
  /** The micro-batches over all shares, if batch norm takes the statistics of those. */
  readonly together?: readonly SharedBatch[];
}

/** Trains one module on what the module before gives for each micro-batch. */
export function trainModule(
  module: LocalModule,
  setup: Pick<Setup, "optimizer" | "average">,
  train: TrainState<Tensor>,
  inputs: readonly Given[],
  batches: readonly TrainingBatch[],
  scalars: Scalars<Operand>,
  exchange: ModuleExchange = {},
): TrainedModule {
  const key = keyIn(scalars);
  const own = batches.map((batch, i) => withKey(batch, derivedKey(key, i)));
  const passed = pass(module, train, inputs, own, exchange);
  const { loss, gives } = passed;
  return { ...finish(module, setup, train, passed.summed(), passed.next, scalars), loss, gives };
}

/** A module after its backward pass. */
interface PassedModule extends Pick<TrainedModule, "loss" | "gives"> {
  /** Its gradients and state; waits for the sums over the shares of a batch. */
  summed(): Passed;
  readonly next: Following;
}

/** Runs a module forward and backward for each micro-batch. */
function pass(
  module: LocalModule,
  train: TrainState<Tensor>,
  inputs: readonly Given[],
  batches: readonly TrainingBatch[],
  { next = nextOf(module, train), passOn, share: shared, together }: ModuleExchange,
): PassedModule {
  const params = select(train.params, module.params);
  const images = inputs.reduce((sum, { h }) => sum + at(h.shape, 0), 0);
  const weight = shared === undefined ? 1 : weightOf(shared);
  const gives: Given[] = [];
  const before = select(train.state, module.state);
  let state = before;
  let loss: Tensor | undefined;
  let gradients: Named<Tensor> | undefined;
  for (const [i, input] of inputs.entries()) {
    const run = withSharedBatch(
      together?.[i],
      () => forward(module, { params, state }, input, at(batches, i), next),
    );
    passOn?.(run.gives, i);
    const share = at(input.h.shape, 0) / images;
    const [own] = scope("backward", () => run.pullback(full([], share * weight)));
    const sum = (a: Tensor, b: Tensor) => a.add(b);
    gradients = gradients === undefined ? own : treeMap(sum, gradients, own) as Named<Tensor>;
    const part = share === 1 ? run.loss : run.loss.mul(share);
    loss = loss === undefined ? part : loss.add(part);
    state = run.state;
    gives.push(run.gives);
  }
  if (loss === undefined || gradients === undefined) {
    throw new LocalgradError("trainModule: there is no batch");
  }
  const own = { gradients, state };
  const summed = shared === undefined ? () => own : overShares(own, before, weight);
  return { loss, gives, next, summed };
}

function afterStep(
  { modules, part }: Setup,
  stepped: TrainState<Tensor>,
  tracked: Tracked | undefined,
): TrainState<Tensor> {
  return modules.reduce((train, module) => {
    const { auxiliary, index } = module;
    if (auxiliary?.afterStep === undefined) return train;
    const place = placeOf(index);
    const own = { params: descend(train.params, place), state: descend(train.state, place) };
    const isElsewhere = part?.reads !== undefined && module === modules.at(-1);
    const after = auxiliary.afterStep(
      own,
      isElsewhere ? nextBlock(part, "after", tracked) : nextOf(module, train),
    );
    return {
      ...train,
      params: withAuxiliary(train.params, index, after.params),
      state: withAuxiliary(train.state, index, after.state),
    };
  }, stepped);
}
