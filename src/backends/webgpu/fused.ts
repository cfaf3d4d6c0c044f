import type { Kernel, Node } from "../../compile/kernel.ts";
import { type Aval, type Shape, sizeOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { axisNames, decode as decodeLines, keptShape, stepsOf } from "../index_text.ts";
import { Binder, type Walk } from "./fused_binder.ts";
import { type Call, typeOf } from "./call.ts";
import { accumulate, levelsOf, type Reductions } from "./fused_loops.ts";
import { fold, printNodes } from "./expressions.ts";
import { type Functions, typeName, type Width } from "./functions.ts";
import type { Variant } from "./variant.ts";

/** A kernel on its way to WGSL. `place` tells which values share memory (an operation in place). */
interface Job {
  readonly kernel: Kernel;
  readonly values: readonly Aval[];
  readonly variant: Variant;
  readonly place: (value: ValueId) => string;
}

/**
 * Prints a fused kernel as one dispatch, or as several where a long reduction has few results: the first folds
 * interleaved parts of it, the others fold the parts in order. `place` tells which values share memory (an operation
 * in place), because a range of a buffer may be bound only once.
 */
export function fused(
  kernel: Kernel,
  values: readonly Aval[],
  variant: Variant,
  place: (value: ValueId) => string,
): Call[] {
  const job: Job = { kernel, values, variant, place };
  if (kernel.reduce === undefined) return [sharesLoads(kernel, variant) ? rows(job) : map(job)];
  const levels = partsOf(kernel, variant);
  if (levels.length === 0) return [pass(job, kernel.reduce.axes, 1)];
  return [
    pass(job, kernel.reduce.axes, levels[0]),
    ...levels.slice(1).map((_, level) => foldParts(job, levels, level)),
    finish(job, levels),
  ];
}

/** Scratch bytes of a fused kernel: the partial results of a split reduction. */
export function fusedWorkspace(kernel: Kernel, variant: Variant): number {
  const parts = partsOf(kernel, variant).reduce((a, b) => a + b, 0);
  return parts === 0 ? 0 : parts * kernel.reduce!.reductions.length * sizeOf(keptShape(kernel)) * 4;
}

/** A part of a split reduction takes in at least this many elements, unless it has to take fewer. */
const MIN_PART = 64;

/** The terms that one invocation may loop over, of which each takes loops of its own. */
function longestRun(nodes: readonly Node[], { run }: Variant): number {
  const loops = nodes.filter((node) => node.kind === "binary" && node.fn === "rem" && node.dtype === "f32");
  return Math.max(1, Math.floor(run / (1 + REM_ITERATIONS * loops.length)));
}

/** Iterations of `rem` in functions.wgsl. */
const REM_ITERATIONS = 32;

/**
 * How many parts a reduction is split into, and into how many those are folded before the last pass; nothing if it is
 * not split. From counts of elements alone, which are the same before and after the planner merges axes.
 */
function partsOf(kernel: Kernel, variant: Variant): number[] {
  if (kernel.reduce === undefined) return [];
  const results = sizeOf(keptShape(kernel));
  if (results === 0) return [];
  const terms = sizeOf(kernel.space) / results;
  const useful = Math.min(Math.ceil(4 * variant.busy / results), Math.floor(terms / MIN_PART));
  const most = variant.kind === "software" ? 128 : Infinity; // one pass folds them
  return levelsOf(Math.max(Math.min(useful, most), Math.ceil(terms / longestRun(kernel.nodes, variant))));
}

/** Four elements at once where the last axis comes in fours. */
const widthOf = (shape: Shape): Width => shape.length > 0 && shape[shape.length - 1] % 4 === 0 ? 4 : 1;

const binderOf = ({ kernel, values, place }: Job): Binder => new Binder(kernel, values, place);

/** One invocation for each point, or each four. */
function map(job: Job): Call {
  const { kernel, variant } = job;
  const walk = { shape: kernel.space, axes: axisNames(kernel.space.length), lanes: widthOf(kernel.space) };
  const binder = binderOf(job);
  binder.visit(kernel.nodes, kernel.stores, walk);
  return binder.call("map", sizeOf(kernel.space) / walk.lanes, variant.group, [
    ...decode("id", stepsOf(walk), walk.axes),
    ...printNodes(kernel.nodes, "v", binder.context(walk)),
    ...binder.stores(kernel.stores, kernel.nodes, "v", walk),
  ]);
}

/** Whether rows (all axes but the first) share loads, which a software adapter had better make once for many rows. */
function sharesLoads({ space, nodes }: Kernel, variant: Variant): boolean {
  if (variant.kind !== "software" || space.length < 2) return false;
  return nodes.some((node) => node.kind === "load" && isInvariant(node, [0]));
}

/** Element-wise, with one invocation for the same place in many rows. */
function rows(job: Job): Call {
  const { space } = job.kernel;
  const units = Math.max(1, sizeOf(space.slice(1)) / widthOf(space));
  const useful = Math.min(space[0], Math.ceil(4 * job.variant.busy / units));
  return pass(job, [0], Math.max(1, useful, Math.ceil(space[0] / longestRun(job.kernel.nodes, job.variant))));
}

/**
 * One invocation for each point of the axes that stay and each of `parts`, which loops over its points of
 * `axes`; what does not depend on those is computed before the loop. With reductions in more than one part, their
 * results so far go to the workspace; else the epilogue follows.
 */
function pass(job: Job, axes: readonly number[], parts: number): Call {
  const { kernel: { space, nodes, stores, reduce }, variant } = job;
  const reductions = reduce?.reductions ?? [];
  const all = axisNames(space.length);
  const width = widthOf(space);
  const lastFolded = axes.includes(space.length - 1);
  const stays = (_: unknown, axis: number): boolean => !axes.includes(axis);
  const walk: Walk = { shape: space, axes: all, lanes: width };
  const kept: Walk = { shape: space.filter(stays), axes: all.filter(stays), lanes: lastFolded ? 1 : width };
  const extents = stepsOf(walk);
  const units = sizeOf(extents.filter(stays)), terms = sizeOf(axes.map((axis) => extents[axis]));

  const binder = binderOf(job);
  binder.visit(nodes, stores, walk);
  const whole = reduce !== undefined && parts === 1, split = reduce !== undefined && parts > 1;
  if (whole) binder.visit(reduce.epilogue, reduce.stores, kept);
  if (split) binder.workspace(typeOf("u32", kept.lanes), true);

  const once = invariants(nodes, axes);
  const total = (r: number): string =>
    lastFolded && width === 4 ? across(reductions[r], `a${r}`, binder.functions) : `a${r}`;
  const label = reduce === undefined ? "rows" : whole ? "reduce" : "reduceParts";
  return binder.call(label, units * parts, variant.group, [
    ...(parts === 1 ? ["let unit = id;"] : [`let unit = id % ${units}u;`, `let part = id / ${units}u;`]),
    ...decode("unit", extents.filter(stays), kept.axes),
    ...printNodes(nodes, "v", binder.context(walk), (i) => once[i]),
    ...accumulate({
      ...{ reductions, width, functions: binder.functions, ...termsOf(terms, parts, variant) },
      body: [
        ...decode(
          termOf(terms, parts, variant),
          axes.map((axis) => extents[axis]),
          axes.map((axis) => all[axis]),
        ),
        ...printNodes(nodes, "v", binder.context(walk), (i) => !once[i]),
        ...binder.stores(stores, nodes, "v", walk),
      ],
      term: (r) => `v${reductions[r].node}`,
    }),
    ...(whole
      ? [
        ...printNodes(reduce.epilogue, "e", binder.context(kept, total)),
        ...binder.stores(reduce.stores, reduce.epilogue, "e", kept),
      ]
      : reductions.map((_, r) =>
        `${partAt(reductions, r, [parts], 0, "part", "unit", units)} = bitcast<${
          typeOf("u32", kept.lanes)
        }>(${total(r)});`
      )),
  ]);
}

/** Where a part of reduction `r` lies in the workspace: levels one after the other, in each the reductions. */
function partAt(
  reductions: Reductions,
  r: number,
  levels: readonly number[],
  level: number,
  part: string,
  unit: string,
  units: number,
): string {
  const before = levels.slice(0, level).reduce((a, b) => a + b, 0) * reductions.length;
  return `workspace[(${before + r * levels[level]}u + ${part}) * ${units}u + ${unit}]`;
}

/**
 * How many of `terms` a part takes in: every `parts`-th on hardware, where invocations side by side then read side by
 * side; a run of them on a software adapter, where each core has its own cache.
 */
function termsOf(terms: number, parts: number, { kind }: Variant): { count: string; most: number } {
  const most = Math.ceil(terms / parts);
  if (parts === 1) return { count: `${terms}u`, most };
  if (kind === "hardware") return { count: `((${terms - 1}u - part) / ${parts}u + 1u)`, most };
  return { count: `min(${most}u, ${terms}u - min(part * ${most}u, ${terms}u))`, most };
}

/** Which of them is the part's term `n`. */
function termOf(terms: number, parts: number, { kind }: Variant): string {
  if (parts === 1) return "n";
  return kind === "hardware" ? `(part + n * ${parts}u)` : `(part * ${Math.ceil(terms / parts)}u + n)`;
}

/** Lines that fold parts `first`, `first + step` … of a level. */
function foldLevel(
  reductions: Reductions,
  levels: readonly number[],
  level: number,
  first: string,
  step: number,
  units: number,
  width: Width,
  functions: Functions,
): string[] {
  const part = `(${first} + n * ${step}u)`;
  return accumulate({
    ...{ reductions, width, functions, body: [] },
    count: `((${levels[level] - 1}u - ${first}) / ${step}u + 1u)`,
    most: Math.ceil(levels[level] / step),
    term: (r) => {
      const read = partAt(reductions, r, levels, level, part, "unit", units);
      return `bitcast<${typeName(reductions[r].dtype, width)}>(${read})`;
    },
  });
}

/** Folds the parts of one level into the fewer of the next. */
function foldParts(job: Job, levels: readonly number[], level: number): Call {
  const { reductions } = job.kernel.reduce!;
  const shape = keptShape(job.kernel);
  const width = widthOf(shape);
  const units = sizeOf(shape) / width, step = levels[level + 1];
  const binder = binderOf(job);
  binder.workspace(typeOf("u32", width), true);
  return binder.call("reduceMore", units * step, job.variant.group, [
    `let unit = id % ${units}u;`,
    `let first = id / ${units}u;`,
    ...foldLevel(reductions, levels, level, "first", step, units, width, binder.functions),
    ...reductions.map((_, r) =>
      `${partAt(reductions, r, levels, level + 1, "first", "unit", units)} = bitcast<${
        typeOf("u32", width)
      }>(a${r});`
    ),
  ]);
}

/** Folds the parts of the last level, then the epilogue. */
function finish(job: Job, levels: readonly number[]): Call {
  const { reductions, epilogue, stores } = job.kernel.reduce!;
  const shape = keptShape(job.kernel);
  const width = widthOf(shape);
  const walk: Walk = { shape, axes: axisNames(shape.length), lanes: width };
  const units = sizeOf(shape) / width;
  const binder = binderOf(job);
  binder.visit(epilogue, stores, walk);
  binder.workspace(typeOf("u32", width), false);
  return binder.call("reduceRest", units, job.variant.group, [
    "let unit = id;",
    ...decode("unit", stepsOf(walk), walk.axes),
    ...foldLevel(reductions, levels, levels.length - 1, "0u", 1, units, width, binder.functions),
    ...printNodes(epilogue, "e", binder.context(walk, (r) => `a${r}`)),
    ...binder.stores(stores, epilogue, "e", walk),
  ]);
}

/** Whether a load, index or random number is the same for all points of `axes`. */
const isInvariant = (node: Extract<Node, { readonly view: unknown }>, axes: readonly number[]): boolean =>
  axes.every((axis) => node.view.strides[axis] === 0);

/** Which nodes are the same for all points of `axes`. */
function invariants(nodes: readonly Node[], axes: readonly number[]): boolean[] {
  const once: boolean[] = [];
  for (const node of nodes) {
    once.push(
      "view" in node ? isInvariant(node, axes) : "args" in node ? node.args.every((arg) => once[arg]) : true,
    );
  }
  return once;
}

/** The four lanes of an accumulator folded into one. */
function across({ fn, dtype }: Reductions[number], a: string, functions: Functions): string {
  const two = (x: string, y: string) => fold(fn, x, y, dtype, { width: 1, functions });
  return two(`(${two(`${a}.x`, `${a}.y`)})`, `(${two(`${a}.z`, `${a}.w`)})`);
}

/** Lines that split a row-major index into one index per axis. */
function decode(index: string, extents: readonly number[], axes: readonly string[]): string[] {
  return decodeLines(index, extents, axes, (definitions) => definitions.map((line) => `let ${line};`));
}
