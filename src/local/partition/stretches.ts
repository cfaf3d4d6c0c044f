import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { mebibytes } from "../../base/mebibytes.ts";
import type { Plan, Target } from "../../compile/plan.ts";
import type { Recompute } from "../../compile/recomputation.ts";
import { type Block, inputShape, type Model, network } from "../../models/model.ts";
import type { Initial } from "../../nn/initial.ts";
import { sequential, shapeAfter } from "../../nn/layer.ts";
import { merge, type Named, nest } from "../../nn/named.ts";
import { derivedKey } from "../../nn/random_key.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { jit } from "../../runtime/jit.ts";
import { type Aval, bytesOf, type Shape } from "../../trace/dtype.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeFlatten, treeLeaves } from "../../trace/tree.ts";
import { slotsOf } from "../average.ts";
import { plainLossOf, withLoss } from "../loss.ts";
import type { Batch, Boundary, Given, Method } from "../method.ts";
import { microBatches, parts } from "../micro_batches.ts";
import { moduleOf } from "./partition.ts";
import { placeOf } from "../places.ts";
import { activationsIn } from "../precision.ts";
import { equipModule, lastModule, type LocalModule, type SetupOptions } from "../setup.ts";
import type { TrainState } from "../setup.ts";
import { keyIn, withKey } from "../randomness.ts";
import { trainModule } from "../step.ts";
import { batchAvals, scalarAvals } from "../step_inputs.ts";
import { type Speeds, stepTime, totalTime, TYPICAL } from "../step_time.ts";
import { trainCascades } from "../cascade.ts";
import type { CutCosts } from "./cut_search.ts";

/** Recomputing keeps every fourth block's result, so each further group of this many blocks adds the same. */
const PERIOD = 4;

/** Options of `balanced`. */
export interface BalanceOptions extends Omit<SetupOptions, "modules"> {
  /** The number of modules. */
  modules: number;
  /** Images per step. */
  batch: number;
  /** The kind of device. */
  target: Target;
  /** What to recompute; within a limit, modules are balanced as with `true`. Default false. */
  recompute?: Recompute;
  /**
   * What the highest of all modules is to be lowest of: the planned peak (default), or the predicted time, for modules
   * that are trained on a process each.
   */
  by?: "memory" | "time";
  /** The device's speeds, to predict times; only their ratio matters. Default {@link TYPICAL}. */
  speeds?: Speeds;
  /** By time: the most bytes that the process of one module may need, as planned; default any number. */
  limit?: number;
}

/** Longer than any time in nanoseconds: modules beyond the limit come after all others, by their bytes. */
const BEYOND = 1e15;

/** Plans runs of consecutive blocks as modules. */
export class Stretches implements CutCosts {
  readonly blocks: number;
  readonly modules: number;
  readonly #options: BalanceOptions;
  /** The shape of the features before each block and at the end: `[height, width, channels]`. */
  readonly #features: readonly Shape[];
  readonly #shapes: readonly string[];
  readonly #kinds = new Map<string, string>();
  /** Costs planned so far, and those of the same runs without recomputation, which their plans also report. */
  readonly #peaks: Map<string, number>;
  readonly #without: Map<string, number>;
  /** By time: the bytes of a process that trains the module. */
  readonly #bytes: Map<string, number>;

  constructor(options: BalanceOptions) {
    const { model: { stem, blocks, input }, modules } = options;
    this.#peaks = peaksKnownOf(options);
    this.#without = peaksKnownOf({ ...options, recompute: false });
    this.#bytes = peaksKnownOf(options, "bytes");
    this.#options = options;
    this.blocks = blocks.length;
    this.modules = modules;
    let shape = shapeAfter(sequential(stem), inputShape({ input }));
    const before = blocks.map(({ layer }) => {
      const input = shape;
      shape = shapeAfter(layer, shape);
      return input;
    });
    this.#features = [...before, shape];
    this.#shapes = blocks.map((block, i) => {
      const kinds = kindsOf(options.optimizer, nest(block.name, block.layer.params));
      return `${before[i]} ${shapesOf(block)} ${kinds}`;
    });
  }

  kind(index: number, end: number): string {
    const key = `${index} ${end}`;
    let kind = this.#kinds.get(key);
    if (kind === undefined) {
      const { auxiliary } = this.#module(index, [end - 1]);
      const kinds = kindsOf(this.#options.optimizer, nest(placeOf(index), auxiliary?.params ?? {}));
      const shapes = auxiliary === undefined
        ? "head"
        : `${formatShapes(auxiliary.params, auxiliary.state)} ${kinds}`;
      // The first module has no gradients to reconcile, so it may need less than a shorter one after it.
      const isFirst = this.#options.method.reconcile !== undefined && index === 0 ? "first" : "";
      kind = `${this.#features[end]} ${shapes} ${this.#shapes[end] ?? ""} ${isFirst}`;
      this.#kinds.set(key, kind);
    }
    return kind;
  }

  /** The shapes of a block's parameters and of its input, as text; undefined after the last block. */
  shape(block: number): string | undefined {
    return this.#shapes[block];
  }

  weight(index: number, end: number): number {
    if (this.#options.by === "time") return 0;
    const { auxiliary } = this.#module(index, [end - 1]);
    if (auxiliary === undefined) return 0;
    const { params, state } = auxiliary;
    const { optimizer } = this.#options;
    const avals = treeLeaves<Aval>([params, state, optimizer.slots(nest(placeOf(index), params))]);
    return avals.reduce((sum, aval) => sum + bytesOf(aval), 0);
  }

  /** The peak in bytes, or the time in nanoseconds; of a module beyond the limit, its bytes on top of any time. */
  peak(index: number, start: number, end: number): number {
    const blocks = Array.from({ length: end - start }, (_, i) => start + i);
    const peak = this.#cost(this.#peaks, index, blocks);
    const { limit = Infinity } = this.#options;
    if (limit === Infinity) return peak;
    const bytes = this.#cost(this.#bytes, index, blocks);
    return bytes <= limit ? peak : BEYOND + bytes;
  }

  /** Refuses a cut with a module beyond the limit: the best cut has the least that can be. */
  expectWithinLimit(ends: readonly number[]): void {
    const most = Math.max(...ends.map((end, index) => this.peak(index, ends[index - 1] ?? 0, end)));
    if (most < BEYOND) return;
    const { limit = Infinity, modules } = this.#options;
    throw new LocalgradError(
      `balanced: a process for each of ${modules} modules needs at least ${
        mebibytes(most - BEYOND)
      }, more than the limit ` +
        `of ${mebibytes(limit)}; allow that much, or use smaller batches, recomputation or more modules`,
    );
  }

  /**
   * Returns the peak, the time or the bytes of a module of these blocks. After a few equal blocks each further one adds the
   * same, so those of a long row of equal blocks are extrapolated from two shorter rows.
   */
  #cost(known: Map<string, number>, index: number, blocks: readonly number[]): number {
    const key = [
      index === 0 ? "stem" : "",
      ...blocks.map((block) => this.#shapes[block]),
      this.kind(index, endOf(blocks)),
    ].join("\n");
    let cost = known.get(key);
    if (cost === undefined) {
      const row = this.#longRow(blocks);
      if (row === undefined) {
        const planned = this.#plan(index, blocks);
        this.#without.set(key, planned.without);
        this.#peaks.set(key, planned.peak);
        this.#bytes.set(key, planned.bytes);
        return known === this.#bytes ? planned.bytes : planned.peak;
      }
      const shortened = (times: number) =>
        this.#cost(known, index, blocks.toSpliced(row + 1, PERIOD * times));
      cost = 2 * shortened(1) - shortened(2);
      known.set(key, cost);
    }
    return cost;
  }

  /** Finds the start of a row of equal blocks that is long enough to extrapolate. */
  #longRow(blocks: readonly number[]): number | undefined {
    const shapes = blocks.map((block) => this.#shapes[block]);
    for (let start = 0, i = 1; i <= shapes.length; i++) {
      if (i < shapes.length && shapes[i] === shapes[start]) continue;
      if (i - start > 3 * PERIOD) return start;
      start = i;
    }
    return undefined;
  }

  #module(index: number, blocks: readonly number[]): LocalModule {
    const { model, method } = this.#options;
    const end = endOf(blocks);
    const behind = model.blocks.slice(end);
    const [next] = behind;
    const own = blocks.map((block) => at(model.blocks, block));
    const module = moduleOf({ ...model, blocks: [...own, ...behind] }, index, 0, own.length);
    if (next === undefined) return lastModule(module, method);
    const boundary: Boundary = {
      index,
      count: this.modules - 1,
      requested: this.modules,
      model,
      module,
      next,
      behind,
      features: at(this.#features, end),
    };
    return equipModule(method, boundary);
  }

  /**
   * Plans the training of a module; returns its peak, input and output included, also without recomputation, or its time
   * as both; and the bytes of a process that trains it.
   */
  #plan(
    index: number,
    blocks: readonly number[],
  ): { readonly peak: number; readonly without: number; readonly bytes: number } {
    const { by, speeds } = this.#options;
    const { plan, apart, output } = this.planned(index, blocks);
    const bytes = plan.memory.peakBytes + output;
    if (by === "time") {
      const time = 1e9 * totalTime(stepTime(plan, 0, speeds ?? TYPICAL));
      return { peak: time, without: time, bytes };
    }
    const { memory, without = memory } = plan;
    return {
      peak: memory.arenaBytes + apart,
      without: without.arenaBytes + apart,
      bytes,
    };
  }

  /** Plans the training step of a module. */
  planned(index: number, blocks: readonly number[]): PlannedModule {
    const { model, batch, target, precision, accumulate, recompute = false } = this.#options;
    const [start, end] = [at(blocks, 0), endOf(blocks)];
    const module = this.#module(index, blocks);
    const following = model.blocks[end];
    const isLast = following === undefined;
    const dtype = activationsIn(precision);
    const step = jit(
      (
        train: TrainState<Tensor>,
        { h, gradient }: Given,
        batch: Batch,
        scalars: { [name: string]: Tensor },
      ) => {
        // Any loss of logits is small next to features, so that cuts are planned with the plain one.
        const key = keyIn(scalars);
        const batches = microBatches(batch, accumulate).map((each, i) =>
          withKey(withLoss(each, plainLossOf(model)), derivedKey(key, i))
        );
        const gradients = gradient && parts(gradient, accumulate);
        const inputs = parts(h.cast(dtype), accumulate).map((h, i) => ({ h, gradient: gradients?.[i] }));
        const { cascade } = this.#options.method;
        if (cascade !== undefined) { // the modules are balanced, not the cascades that they form
          const alone = { ...this.#options, modules: [module] };
          const hs = inputs.map(({ h }) => h);
          const { updated, losses, outputs, gradients } = trainCascades(
            ...[alone, cascade, train, hs, batches, scalars] as const,
          );
          return { after: updated.map(({ after }) => after), losses, outputs, gradients };
        }
        const { after, loss, gives } = trainModule(
          module,
          this.#options,
          train,
          inputs,
          batches,
          scalars,
        );
        return { after, loss, ...(isLast ? {} : { gives }) };
      },
      { name: module.name, donate: [0], recompute: recompute !== false },
    );
    const avals = batchAvals(model, batch);
    const input: Aval = { shape: [batch, ...at(this.#features, start)], dtype };
    const outputAval: Aval = { shape: [batch, ...at(this.#features, end)], dtype };
    const read = model.blocks.slice(end, end + (module.auxiliary?.reach ?? 1));
    const next = (part: "params" | "state") =>
      merge(...read.map(({ name, layer }) => nest<Initial>(name, layer[part])));
    const train = {
      params: merge(module.params, next("params")),
      state: merge(module.state, next("state")),
      optimizer: slotsOf(this.#options, module.params, [module]),
    };
    const plan = step.plan(
      { ...target, maxTotalBytes: Infinity },
      train,
      {
        h: start === 0 ? avals.x : input,
        ...(index === 0 || module.reconcile === undefined ? {} : { gradient: input }),
      },
      avals,
      scalarAvals({ ...this.#options, modules: [module] }),
    );
    const output = isLast ? 0 : bytesOf(outputAval);
    const received = start === 0 ? 0 : bytesOf(input);
    const apart = (received + output) * (module.reconcile === undefined ? 1 : 2);
    return { plan, apart, output };
  }
}

/** The planned step of one module. */
export interface PlannedModule {
  readonly plan: Plan;
  /** Bytes that the whole step keeps in its arena beside: what the module begins with and passes on. */
  readonly apart: number;
  /** Bytes of the features that it passes on; 0 of the last. */
  readonly output: number;
}

/** Peaks planned so far, by network and method, then by everything else; searches for other numbers of modules reuse them. */
const known = new WeakMap<Model, WeakMap<Method, Map<string, Map<string, number>>>>();

function peaksKnownOf(options: BalanceOptions, what: "cost" | "bytes" = "cost"): Map<string, number> {
  const { model, method, optimizer, average, accumulate, batch, target, precision, recompute = false } =
    options;
  const { by = "memory", speeds } = options;
  const ofModel = known.get(model) ?? new WeakMap<Method, Map<string, Map<string, number>>>();
  known.set(model, ofModel);
  const ofMethod = ofModel.get(method) ?? new Map<string, Map<string, number>>();
  ofModel.set(method, ofMethod);
  const key = JSON.stringify([
    ...[optimizer.name, optimizer.options, kindsOf(optimizer, network(model).params)],
    ...[
      average,
      accumulate,
      batch,
      target.name,
      target.engine,
      precision,
      recompute !== false,
      by,
      speeds,
      what,
    ],
  ]);
  const peaks = ofMethod.get(key) ?? new Map<string, number>();
  ofMethod.set(key, peaks);
  return peaks;
}

/** Returns the index after the last of a run of blocks. */
function endOf(blocks: readonly number[]): number {
  return at(blocks, blocks.length - 1) + 1;
}

/** Returns a block's shapes as text; its name if it has no parameters, because shapes then do not identify it. */
function shapesOf({ name, layer }: Block): string {
  const shapes = formatShapes(layer.params, layer.state);
  return shapes === "" ? name : shapes;
}

/** Returns how an optimizer treats each parameter, as text: modules of the same shapes may differ in that. */
function kindsOf(optimizer: Optimizer, params: Named<Initial>): string {
  if (optimizer.kindOf === undefined) return "";
  const { leaves, paths } = treeFlatten<Initial>(params);
  return leaves.map(({ shape }, i) => optimizer.kindOf?.({ path: at(paths, i), shape })).join();
}

function formatShapes(...trees: readonly Named<Initial>[]): string {
  return trees.flatMap((tree) => {
    const { leaves, paths } = treeFlatten<Initial>(tree);
    return leaves.map(({ shape }, i) => `${paths[i]}[${shape}]`);
  }).join();
}
