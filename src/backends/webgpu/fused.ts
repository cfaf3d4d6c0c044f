import type { Kernel, Node } from "../../compile/kernel.ts";
import { type Aval, type Shape, sizeOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { axisNames, decode as decodeLines, keptShape, stepsOf } from "../index_text.ts";
import { Bindings, type Walk } from "./fused_bindings.ts";
import { type Call, typeOf } from "./call.ts";
import { accumulate, levelsOf, type Reductions } from "./fused_loops.ts";
import { fold, printNodes } from "./expressions.ts";
import { type Functions, typeName, type Width } from "./functions.ts";
import type { Variant } from "./variant.ts";

/** A kernel to print. `place` names the memory of a value: the same for values that share it (an operation in place). */
interface Job {
  readonly kernel: Kernel;
  readonly values: readonly Aval[];
  readonly variant: Variant;
  readonly place: (value: ValueId) => string;
}

/**
 * Prints a fused kernel: as one dispatch, or as several for a long reduction with few results, of which the first folds
 * the parts of the reduction and the others fold their results, in order. `place` names the memory of a value, because a
 * range of a buffer may be bound only once.
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
  return parts * (kernel.reduce?.reductions.length ?? 0) * sizeOf(keptShape(kernel)) * 4;
}

/** The fewest elements of a part of a split reduction, unless the number of iterations demands shorter parts. */
const MIN_PART = 64;

/** The most terms that one invocation loops over; fewer if each term needs loops itself. */
function longestRun(nodes: readonly Node[], { run }: Variant): number {
  const loops = nodes.filter((node) => node.kind === "binary" && node.fn === "rem" && node.dtype === "f32");
  return Math.max(1, Math.floor(run / (1 + REM_ITERATIONS * loops.length)));
}

/** The iterations of `rem` in functions.wgsl. */
const REM_ITERATIONS = 32;

/**
 * The number of parts of a reduction before each pass that folds them; empty if it is not split. It depends on counts of
 * elements alone, which are the same before and after the planner merges axes.
 */
function partsOf(kernel: Kernel, variant: Variant): number[] {
  if (kernel.reduce === undefined) return [];
  const results = sizeOf(keptShape(kernel));
  if (results === 0) return [];
  const terms = sizeOf(kernel.space) / results;
  const useful = Math.min(Math.ceil(4 * variant.busy / results), Math.floor(terms / MIN_PART));
  const most = variant.kind === "software" ? 128 : Infinity; // 128 are folded in one pass
  return levelsOf(Math.max(Math.min(useful, most), Math.ceil(terms / longestRun(kernel.nodes, variant))));
}

/** The elements of one access: four if the last extent is a multiple of 4. */
const widthOf = (shape: Shape): Width => shape.length > 0 && shape[shape.length - 1] % 4 === 0 ? 4 : 1;

const bindingsOf = ({ kernel, values, place }: Job): Bindings => new Bindings(kernel, values, place);

/** An element-wise pass, with one invocation for each point or every four. */
function map(job: Job): Call {
  const { kernel, variant } = job;
  const walk = { shape: kernel.space, axes: axisNames(kernel.space.length), lanes: widthOf(kernel.space) };
  const bindings = bindingsOf(job);
  bindings.visit(kernel.nodes, kernel.stores, walk);
  return bindings.call("map", sizeOf(kernel.space) / walk.lanes, variant.group, [
    ...decode("id", stepsOf(walk), walk.axes),
    ...printNodes(kernel.nodes, "v", bindings.context(walk)),
    ...bindings.stores(kernel.stores, kernel.nodes, "v", walk),
  ]);
}

/** Tests whether rows (all axes but the first) share loads, which a software adapter should make once for many rows. */
function sharesLoads({ space, nodes }: Kernel, variant: Variant): boolean {
  if (variant.kind !== "software" || space.length < 2) return false;
  return nodes.some((node) => node.kind === "load" && isInvariant(node, [0]));
}

/** An element-wise pass, with one invocation for the same position in many rows. */
function rows(job: Job): Call {
  const { space } = job.kernel;
  const units = Math.max(1, sizeOf(space.slice(1)) / widthOf(space));
  const useful = Math.min(space[0], Math.ceil(4 * job.variant.busy / units));
  return pass(job, [0], Math.max(1, useful, Math.ceil(space[0] / longestRun(job.kernel.nodes, job.variant))));
}

/**
 * A pass with one invocation for each point of the other axes and each of `parts`, which loops over its points of `axes`.
 * Nodes that do not depend on those are computed before the loop. The partial results of reductions in several parts go
 * to the workspace; otherwise the epilogue follows.
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

  const bindings = bindingsOf(job);
  bindings.visit(nodes, stores, walk);
  const whole = reduce !== undefined && parts === 1, split = reduce !== undefined && parts > 1;
  if (whole) bindings.visit(reduce.epilogue, reduce.stores, kept);
  if (split) bindings.workspace(typeOf("u32", kept.lanes), true);

  const once = invariants(nodes, axes);
  const total = (r: number): string =>
    lastFolded && width === 4 ? across(reductions[r], `a${r}`, bindings.functions) : `a${r}`;
  const label = reduce === undefined ? "rows" : whole ? "reduce" : "reduceParts";
  return bindings.call(label, units * parts, variant.group, [
    ...(parts === 1 ? ["let unit = id;"] : [`let unit = id % ${units}u;`, `let part = id / ${units}u;`]),
    ...decode("unit", extents.filter(stays), kept.axes),
    ...printNodes(nodes, "v", bindings.context(walk), (i) => once[i]),
    ...accumulate({
      ...{ reductions, width, functions: bindings.functions, ...termsOf(terms, parts, variant) },
      body: [
        ...decode(
          termOf(terms, parts, variant),
          axes.map((axis) => extents[axis]),
          axes.map((axis) => all[axis]),
        ),
        ...printNodes(nodes, "v", bindings.context(walk), (i) => !once[i]),
        ...bindings.stores(stores, nodes, "v", walk),
      ],
      term: (r) => `v${reductions[r].node}`,
    }),
    ...(whole
      ? [
        ...printNodes(reduce.epilogue, "e", bindings.context(kept, total)),
        ...bindings.stores(reduce.stores, reduce.epilogue, "e", kept),
      ]
      : reductions.map((_, r) =>
        `${partAt(reductions, r, [parts], 0, "part", "unit", units)} = bitcast<${
          typeOf("u32", kept.lanes)
        }>(${total(r)});`
      )),
  ]);
}

/** A part of reduction `r` in the workspace, which holds the levels one after the other, and in each the reductions. */
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
 * The number of terms in a part: every `parts`-th term on hardware, where neighbouring invocations then read neighbouring
 * elements; a contiguous run on a software adapter, where each core has its own cache.
 */
function termsOf(terms: number, parts: number, { kind }: Variant): { count: string; most: number } {
  const most = Math.ceil(terms / parts);
  if (parts === 1) return { count: `${terms}u`, most };
  if (kind === "hardware") return { count: `((${terms - 1}u - part) / ${parts}u + 1u)`, most };
  return { count: `min(${most}u, ${terms}u - min(part * ${most}u, ${terms}u))`, most };
}

/** The index of the part's term `n` among all terms. */
function termOf(terms: number, parts: number, { kind }: Variant): string {
  if (parts === 1) return "n";
  return kind === "hardware" ? `(part + n * ${parts}u)` : `(part * ${Math.ceil(terms / parts)}u + n)`;
}

/** Lines that fold the parts `first`, `first + step` … of a level. */
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

/** The pass that folds the parts of one level into the fewer parts of the next. */
function foldParts(job: Job, levels: readonly number[], level: number): Call {
  const { reductions } = job.kernel.reduce!;
  const shape = keptShape(job.kernel);
  const width = widthOf(shape);
  const units = sizeOf(shape) / width, step = levels[level + 1];
  const bindings = bindingsOf(job);
  bindings.workspace(typeOf("u32", width), true);
  return bindings.call("reduceMore", units * step, job.variant.group, [
    `let unit = id % ${units}u;`,
    `let first = id / ${units}u;`,
    ...foldLevel(reductions, levels, level, "first", step, units, width, bindings.functions),
    ...reductions.map((_, r) =>
      `${partAt(reductions, r, levels, level + 1, "first", "unit", units)} = bitcast<${
        typeOf("u32", width)
      }>(a${r});`
    ),
  ]);
}

/** The pass that folds the parts of the last level and evaluates the epilogue. */
function finish(job: Job, levels: readonly number[]): Call {
  const { reductions, epilogue, stores } = job.kernel.reduce!;
  const shape = keptShape(job.kernel);
  const width = widthOf(shape);
  const walk: Walk = { shape, axes: axisNames(shape.length), lanes: width };
  const units = sizeOf(shape) / width;
  const bindings = bindingsOf(job);
  bindings.visit(epilogue, stores, walk);
  bindings.workspace(typeOf("u32", width), false);
  return bindings.call("reduceRest", units, job.variant.group, [
    "let unit = id;",
    ...decode("unit", stepsOf(walk), walk.axes),
    ...foldLevel(reductions, levels, levels.length - 1, "0u", 1, units, width, bindings.functions),
    ...printNodes(epilogue, "e", bindings.context(walk, (r) => `a${r}`)),
    ...bindings.stores(stores, epilogue, "e", walk),
  ]);
}

/** Tests whether a load, index or random number is the same for all points of `axes`. */
const isInvariant = (node: Extract<Node, { readonly view: unknown }>, axes: readonly number[]): boolean =>
  axes.every((axis) => node.view.strides[axis] === 0);

/** Tests each node: is it the same for all points of `axes`? */
function invariants(nodes: readonly Node[], axes: readonly number[]): boolean[] {
  const once: boolean[] = [];
  for (const node of nodes) {
    once.push(
      "view" in node ? isInvariant(node, axes) : "args" in node ? node.args.every((arg) => once[arg]) : true,
    );
  }
  return once;
}

/** Folds the four lanes of an accumulator into one. */
function across({ fn, dtype }: Reductions[number], a: string, functions: Functions): string {
  const two = (x: string, y: string) => fold(fn, x, y, dtype, { width: 1, functions });
  return two(`(${two(`${a}.x`, `${a}.y`)})`, `(${two(`${a}.z`, `${a}.w`)})`);
}

/** Lines that split a row-major index into one index per axis. */
function decode(index: string, extents: readonly number[], axes: readonly string[]): string[] {
  return decodeLines(index, extents, axes, (definitions) => definitions.map((line) => `let ${line};`));
}
