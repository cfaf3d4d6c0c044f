import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectObject } from "../base/expect.ts";
import type { Target } from "../compile/plan.ts";
import type { Block, Model } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import { sequential, shapeAfter } from "../nn/layer.ts";
import { merge, type Named, nest } from "../nn/named.ts";
import { jit } from "../runtime/jit.ts";
import { type Aval, bytesOf, type Shape } from "../trace/dtype.ts";
import type { Tensor } from "../trace/tensor.ts";
import { treeLeaves, treePaths } from "../trace/tree.ts";
import { bestCut } from "./cut_search.ts";
import type { Batch, Boundary, Method } from "./method.ts";
import { checkModel, moduleOf } from "./partition.ts";
import { activationsIn } from "./precision.ts";
import { equipModule, lastModule, type LocalModule, type SetupOptions } from "./setup.ts";
import { SETUP_KINDS } from "./setup.ts";
import type { TrainState } from "./setup.ts";
import { trainModule } from "./step.ts";

/** Recomputing keeps every fourth block's result: what so many blocks add is the same each time. */
const PERIOD = 4;

/** What decides where balanced boundaries are. */
export interface BalanceOptions extends Omit<SetupOptions, "modules"> {
  /** How many modules. */
  modules: number;
  /** Images of a step. */
  batch: number;
  /** The kind of device. */
  target: Target;
  /** Whether the plan recomputes; default false. */
  recompute?: boolean;
}

/**
 * The boundaries with the lowest planned peak for a number of modules. What a module with its auxiliary network takes is
 * planned by itself, once for each stretch of blocks that the search asks about; stretches of the same shapes are planned
 * once for all. Nothing is allocated. A method that cuts further, such as one whose stem is a module of its own, does so
 * afterwards.
 *
 * @throws {LocalgradError} if the network has not so many blocks.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const cut = local.balanced({
 *   model: models.resnet32(),
 *   modules: 3,
 *   method: local.dgl(),
 *   optimizer: optim.sgd({ momentum: 0.9 }),
 *   batch: 128,
 *   target: await devices.target("cpu"),
 * });
 * assertEquals(cut, { after: ["layer1.2", "layer2.0"] });
 * ```
 */
export function balanced(options: BalanceOptions): { after: string[] } {
  expectObject("balanced", options, {
    ...SETUP_KINDS,
    modules: "number",
    batch: "number",
    target: "object",
    recompute: "boolean?",
  });
  const { model, modules, method } = options;
  checkModel(model);
  const { blocks } = model;
  if (!Number.isInteger(modules) || modules < 1 || modules > blocks.length) {
    throw new LocalgradError(
      `balanced: ${model.name} has ${blocks.length} blocks and can be cut into 1 to ${blocks.length} modules, ` +
        `not ${modules}`,
    );
  }
  if (modules === 1 || method.auxiliary === undefined) return { after: [] };
  const ends = bestCut(new Stretches(options));
  return { after: ends.slice(0, -1).map((end) => blocks[end - 1].name) };
}

/** The options with balanced boundaries, where those are asked for, in place of their number. */
export function withCut<O extends SetupOptions & Omit<BalanceOptions, "modules">>(options: O): O {
  expectKind("the options", options, "object");
  const { modules } = options;
  return typeof modules === "object" && modules !== null && "balanced" in modules
    ? { ...options, modules: balanced({ ...options, modules: modules.balanced }) }
    : options;
}

/** Plans stretches of a network as modules. */
class Stretches {
  readonly blocks: number;
  readonly modules: number;
  readonly #options: BalanceOptions;
  /** The features before each block and at the end: `[height, width, channels]`. */
  readonly #features: readonly Shape[];
  readonly #shapes: readonly string[];
  readonly #kinds = new Map<string, string>();
  /** Peaks planned so far, and those of the same stretches without recomputing, which their plans tell besides. */
  readonly #peaks: Map<string, number>;
  readonly #without: Map<string, number>;

  constructor(options: BalanceOptions) {
    const { model: { stem, blocks, input }, modules } = options;
    this.#peaks = peaksKnownOf(options);
    this.#without = peaksKnownOf({ ...options, recompute: false });
    this.#options = options;
    this.blocks = blocks.length;
    this.modules = modules;
    const features: Shape[] = [shapeAfter(sequential(stem), [input.height, input.width, input.channels])];
    for (const { layer } of blocks) features.push(shapeAfter(layer, features[features.length - 1]));
    this.#features = features;
    this.#shapes = blocks.map((block, i) => `${features[i]} ${shapesOf(block)}`);
  }

  kind(index: number, end: number): string {
    const key = `${index} ${end}`;
    let kind = this.#kinds.get(key);
    if (kind === undefined) {
      const { auxiliary } = this.#module(index, [end - 1]);
      const shapes = auxiliary === undefined ? "head" : formatShapes(auxiliary.params, auxiliary.state);
      kind = `${this.#features[end]} ${shapes} ${this.#shapes[end] ?? ""}`;
      this.#kinds.set(key, kind);
    }
    return kind;
  }

  weight(index: number, end: number): number {
    const { optimizer } = this.#options;
    const { params, state } = this.#module(index, [end - 1]).auxiliary!;
    const trees = [params, state, optimizer.slots(params)];
    return trees.flatMap((tree) => treeLeaves<Aval>(tree as never)).reduce(
      (sum, aval) => sum + bytesOf(aval),
      0,
    );
  }

  peak(index: number, start: number, end: number): number {
    return this.#peak(index, Array.from({ length: end - start }, (_, i) => start + i));
  }

  /**
   * The peak of a module of these blocks. What another block like its neighbours adds does not change any more once
   * there are a few of them, so a long row of equal blocks is planned as a shorter one and what four more add.
   */
  #peak(index: number, blocks: readonly number[]): number {
    const key = [
      index === 0 ? "stem" : "",
      ...blocks.map((block) => this.#shapes[block]),
      this.kind(index, blocks[blocks.length - 1] + 1),
    ].join("\n");
    let peak = this.#peaks.get(key);
    if (peak === undefined) {
      const row = this.#longRow(blocks);
      if (row === undefined) {
        const planned = this.#plan(index, blocks);
        this.#without.set(key, planned.without);
        peak = planned.peak;
      } else {
        const [fewer, fewest] = [1, 2].map((times) =>
          this.#peak(index, blocks.toSpliced(row + 1, PERIOD * times))
        );
        peak = 2 * fewer - fewest;
      }
      this.#peaks.set(key, peak);
    }
    return peak;
  }

  /** Where a row of equal blocks starts that is too long to be planned as it is. */
  #longRow(blocks: readonly number[]): number | undefined {
    for (let start = 0, i = 1; i <= blocks.length; i++) {
      if (i < blocks.length && this.#shapes[blocks[i]] === this.#shapes[blocks[start]]) continue;
      if (i - start > 3 * PERIOD) return start;
      start = i;
    }
    return undefined;
  }

  #module(index: number, blocks: readonly number[]): LocalModule {
    const { model, method } = this.#options;
    const end = blocks[blocks.length - 1] + 1;
    const behind = model.blocks.slice(end);
    const own = blocks.map((block) => model.blocks[block]);
    const module = moduleOf({ ...model, blocks: [...own, ...behind] }, index, 0, own.length);
    if (behind.length === 0) return lastModule(module);
    const boundary: Boundary = {
      index,
      count: this.modules - 1,
      requested: this.modules,
      model,
      module,
      next: behind[0],
      behind,
      features: this.#features[end],
    };
    return equipModule(method, boundary);
  }

  /** The most that is held while a module is trained, its input and output included; and without recomputing. */
  #plan(index: number, blocks: readonly number[]): { readonly peak: number; readonly without: number } {
    const { model, optimizer, batch, target, precision, recompute = false } = this.#options;
    const [start, end] = [blocks[0], blocks[blocks.length - 1] + 1];
    const module = this.#module(index, blocks);
    const isLast = module.auxiliary === undefined;
    const dtype = activationsIn(precision);
    const step = jit(
      (train: TrainState<Tensor>, h: Tensor, batch: Batch, scalars: { [name: string]: Tensor }) => {
        const { after, loss, h: output } = trainModule(
          module,
          optimizer,
          train,
          h.cast(dtype),
          batch,
          scalars,
        );
        return { after, loss, ...(isLast ? {} : { h: output }) };
      },
      { name: module.name, donate: [0], recompute },
    );
    const { height, width, channels } = model.input;
    const image: Aval = { shape: [batch, height, width, channels], dtype: "f32" };
    const input: Aval = { shape: [batch, ...this.#features[start]], dtype };
    const scalars: { [name: string]: Aval } = {};
    for (const name of Object.keys(optimizer.scalars(0, 0))) scalars[name] = { shape: [], dtype: "f32" };
    const next = (part: "params" | "state") =>
      isLast ? {} : nest<Initial>(module.next!, model.blocks[end].layer[part]);
    const train = {
      params: merge(module.params, next("params")),
      state: merge(module.state, next("state")),
      optimizer: optimizer.slots(module.params),
    };
    const labels: Aval = { shape: [batch], dtype: "i32" };
    const plan = step.plan(
      { ...target, maxTotalBytes: Infinity },
      train as never,
      start === 0 ? image : input,
      { x: image, labels, images: image },
      scalars,
    );
    const output: Aval = { shape: [batch, ...this.#features[end]], dtype };
    const apart = (start === 0 ? 0 : bytesOf(input)) + (isLast ? 0 : bytesOf(output));
    const { memory, without = memory } = plan;
    return { peak: memory.arenaBytes + apart, without: without.arenaBytes + apart };
  }
}

/** Peaks planned before, by network and method, then by all else: another number of modules asks for many again. */
const known = new WeakMap<Model, WeakMap<Method, Map<string, Map<string, number>>>>();

function peaksKnownOf(options: BalanceOptions): Map<string, number> {
  const { model, method, optimizer, batch, target, precision, recompute = false } = options;
  const ofModel = known.get(model) ?? new WeakMap<Method, Map<string, Map<string, number>>>();
  known.set(model, ofModel);
  const ofMethod = ofModel.get(method) ?? new Map<string, Map<string, number>>();
  ofModel.set(method, ofMethod);
  const key = JSON.stringify([optimizer.name, optimizer.options, batch, target.name, precision, recompute]);
  const peaks = ofMethod.get(key) ?? new Map<string, number>();
  ofMethod.set(key, peaks);
  return peaks;
}

/** A block's shapes as text; of one without parameters, which shapes say too little of, its name. */
function shapesOf({ name, layer }: Block): string {
  const shapes = formatShapes(layer.params, layer.state);
  return shapes === "" ? name : shapes;
}

function formatShapes(...trees: readonly Named<Initial>[]): string {
  return trees.flatMap((tree) => {
    const leaves = treeLeaves<Aval>(tree as never);
    return treePaths(tree as never).map((path, i) => `${path}[${leaves[i].shape}]`);
  }).join();
}
