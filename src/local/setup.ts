import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject, expectOptions, expectWhole, type Kinds, shown } from "../base/expect.ts";
import { nearest } from "../base/option_names.ts";
import type { Precision } from "../compile/plan.ts";
import { plainOf } from "../models/context.ts";
import { inputShape, isDense, type Model, outputShape, regresses, taskOf } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import { shapeAfter } from "../nn/layer.ts";
import { merge, type Named, nest } from "../nn/named.ts";
import { expectOptimizer, type Optimizer } from "../optim/optimizer.ts";
import { checkAverage, slotsOf, type WeightAverage } from "./average.ts";
import type { Part } from "./processes/exchange.ts";
import { type Loss, lossFrom, type LossFunction, plainLossOf } from "./loss.ts";
import type { Auxiliary, Boundary, Method } from "./method.ts";
import { auxiliaryAt, expectMethod } from "./method.ts";
import {
  type Module,
  type Modules,
  type Partition,
  partition,
  whole,
  withContexts,
} from "./partition/partition.ts";
import { treePaths } from "../trace/tree.ts";
import { AUXILIARIES, placeOf } from "./places.ts";

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
  /** The term that draws the gradients at a boundary to each other, of methods that have it. */
  readonly reconcile?: Method["reconcile"];
  /** The path in the network's parameters of the block after the boundary. */
  readonly next?: string;
  /** The parameters that its update changes: its own and its auxiliary network's, by name. */
  readonly params: Named<Initial>;
  /** The state that goes with them. */
  readonly state: Named<Initial>;
}

/** A network, cut into modules with auxiliary networks, and an optimizer: everything a training step needs. */
export interface Setup {
  /** The network, with the contexts that the method supplies. */
  readonly model: Model;
  /** The training method. */
  readonly method: Method;
  /** The optimizer of its parameters. */
  readonly optimizer: Optimizer;
  /** The loss of the network's head and of local classifiers; default softmax cross-entropy. */
  readonly loss?: Loss;
  /** The average of weights that is evaluated, if any. */
  readonly average?: WeightAverage;
  /** The number of micro-batches that a step's batch is divided into; default 1. */
  readonly accumulate?: number;
  /** Over what batch norm takes its statistics where processes share a batch; default `share`. */
  readonly batchNorm?: BatchNormStatistics;
  /** The precision; default the device's own choice. */
  readonly precision?: Precision;
  /** The cut into modules. */
  readonly partition: Partition;
  /** Its modules with their auxiliary networks. */
  readonly modules: readonly LocalModule[];
  /** The starting values. */
  readonly initial: TrainState<Initial>;
  /** For one of several processes: what its steps exchange with others. `modules` and `initial` are then its own. */
  readonly part?: Part;
}

/**
 * Over what batch norm takes its statistics where several processes share each batch: over a process's own `share`, as
 * PyTorch does with DistributedDataParallel, or `synchronised`, over the whole batch, as its SyncBatchNorm. Those are the
 * statistics of one process, but each batch norm costs two more exchanges in a step, for which all processes wait.
 */
export type BatchNormStatistics = "share" | "synchronised";

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
   * The loss of the network's own head, and of the classifiers in local losses: `crossEntropyLoss`, `squaredErrorLoss`,
   * or a function of logits and labels that returns the loss of each image, `[batch]`. Default softmax cross-entropy;
   * for a regression `squaredErrorLoss()`, and a function gets the values `[batch, outputs]` and labels like them.
   */
  loss?: Loss | LossFunction;
  /** Keeps an average of the network's weights and running statistics, which is evaluated; default none. */
  average?: WeightAverage;
  /**
   * Micro-batches that each step's batch is divided into. A module runs forward and backward for one after the other,
   * sums their gradients and is updated once, so its activations need the memory of one micro-batch; only the features
   * at its boundaries are kept for the whole batch. Without batch norm the gradient is that of the whole batch but for
   * rounding; batch norms see one micro-batch at a time. A micro-batch has at least two images, so a smaller batch is
   * divided into fewer. Default 1.
   */
  accumulate?: number;
  /**
   * Over what batch norm takes its statistics where several processes share each batch, see {@link BatchNormStatistics};
   * default `share`. Of no effect in one process.
   */
  batchNorm?: BatchNormStatistics;
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
  expectOptions("setup", options, SETUP_KINDS);
  const { model: given, modules = 1, method, optimizer, loss, average, accumulate, batchNorm, precision } =
    options;
  expectMethod("setup", method);
  expectOptimizer("setup", optimizer);
  if (average !== undefined) checkAverage(average);
  if (accumulate !== undefined) expectWhole("setup: accumulate", accumulate);
  if (batchNorm !== undefined && batchNorm !== "share" && batchNorm !== "synchronised") {
    throw new LocalgradError(
      `setup: batchNorm must be "share" or "synchronised", not ${shown(batchNorm)}`,
    );
  }
  const cut = partition(given, modules);
  const own = method.auxiliary === undefined ? whole(given) : cut;
  const recut = method.recut?.(given, own) ?? own;
  const model = method.supplied?.(given, recut) ?? given;
  if (model.contexts !== undefined && method.cascade !== undefined) {
    throw new LocalgradError(
      `setup: ${method.name} trains neighbouring modules together, and contexts are of single ones; leave one of them out`,
    );
  }
  const partitioned = model === given ? recut : withContexts(model, recut);
  const equipped = equip(model, partitioned, method);
  const params = merge(...equipped.map((module) => module.params));
  const state = merge(...equipped.map((module) => module.state));
  expectNames(model, optimizer, params);
  return {
    model,
    method,
    optimizer,
    ...lossOf(model, loss),
    ...(average === undefined ? {} : { average }),
    ...(accumulate === undefined ? {} : { accumulate }),
    ...(batchNorm === undefined ? {} : { batchNorm }),
    ...(precision === undefined ? {} : { precision }),
    partition: partitioned,
    modules: equipped,
    initial: { params, state, optimizer: slotsOf({ optimizer, average }, params, equipped) },
  };
}

/** The loss of a network; a regression has squared error by default. */
function lossOf(model: Model, given: SetupOptions["loss"]): { loss?: Loss } {
  const loss = given ?? (taskOf(model) === "classification" ? undefined : plainLossOf(model));
  return loss === undefined ? {} : { loss: lossFrom("setup", loss, model) };
}

/** Refuses an optimizer whose rules name parameters that there are not; auxiliary networks come and go with the cut. */
function expectNames(model: Model, { name, names = [] }: Optimizer, params: Named<Initial>): void {
  const paths = treePaths<Initial>(params);
  const begins = (start: string) => paths.some((path) => path === start || path.startsWith(`${start}.`));
  const unknown = names.find((start) => !start.startsWith(AUXILIARIES) && !begins(start));
  if (unknown === undefined) return;
  const own = paths.filter((path) => !path.startsWith(AUXILIARIES)).map((path) => path.split("."));
  const beginnings = new Set(own.flatMap((names) => names.map((_, i) => names.slice(0, i + 1).join("."))));
  const meant = nearest(unknown, [...beginnings].toSorted((a, b) => a.length - b.length));
  const parts = [...new Set(own.map(([part]) => part))].join(", ");
  throw new LocalgradError(
    `${name}: ${model.name} has no parameter that begins with ${shown(unknown)}; ${
      meant === undefined ? `its parts are ${parts}` : `did you mean ${shown(meant)}? Its parts are ${parts}`
    }`,
  );
}

function equip(model: Model, { requested, modules }: Partition, method: Method): LocalModule[] {
  let features = inputShape(model);
  return modules.map((module, index): LocalModule => {
    features = shapeAfter(plainOf(module.layer), features);
    if (index < modules.length - 1) {
      const later = modules.slice(index + 1);
      const behind = later.flatMap(({ blocks }) => blocks);
      const following = later.map(({ blocks }) => blocks.length);
      const next = at(behind, 0);
      const count = modules.length - 1;
      const boundary = { index, count, requested, model, module, next, behind, following, features };
      return equipModule(method, boundary);
    }
    const outputs = outputShape(model);
    if (features.join() !== outputs.join()) {
      const what = isDense(model) ? `logits [${outputs.join(",")}]` : regresses(model) ? "values" : "logits";
      throw new LocalgradError(
        `${model.name}: its head gives [${features.join(",")}] for each image, not ${
          isDense(model) ? "" : `${model.classes} `
        }${what}`,
      );
    }
    return lastModule(module, method);
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
    ...reconciling(method),
    next: next.name,
    params: merge(module.layer.params, nest(place, auxiliary.params)),
    state: merge(module.layer.state, nest(place, auxiliary.state)),
  };
}

/** Returns the last module, whose loss is that of the network's own head. */
export function lastModule(module: Module, method?: Method): LocalModule {
  return { ...module, ...reconciling(method), params: module.layer.params, state: module.layer.state };
}

function reconciling({ reconcile }: Partial<Method> = {}): Pick<LocalModule, "reconcile"> {
  return reconcile === undefined ? {} : { reconcile };
}

/** Refuses a value that is not a setup; `who` begins the message. */
export function expectSetup(who: string, setup: Setup): void {
  expectObject(`${who}: the setup`, setup, {
    model: "object",
    method: "object",
    optimizer: "object",
    loss: "object?",
    average: "object?",
    accumulate: "number?",
    batchNorm: "string?",
    precision: "string?",
    partition: "object",
    modules: "array",
    initial: "object",
    part: "object?",
  });
}

/** The kinds of the options of {@link setup}. */
export const SETUP_KINDS = {
  model: "object",
  modules: "any?",
  method: "object",
  optimizer: "object",
  loss: "any?",
  average: "object?",
  accumulate: "number?",
  batchNorm: "string?",
  precision: "string?",
} as const satisfies Kinds<SetupOptions>;
