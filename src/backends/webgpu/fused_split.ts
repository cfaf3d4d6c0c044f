import { at } from "../../base/at.ts";
import type { Kernel } from "../../compile/kernel.ts";
import { sizeOf } from "../../trace/dtype.ts";
import { axisNames, keptShape, stepsOf } from "../index_text.ts";
import { type Call, typeOf } from "./call.ts";
import { printNodes } from "./expressions.ts";
import { type Functions, type Lanes, typeName } from "./functions.ts";
import { Bindings, decode, type Job, lanesOf, type Walk } from "./fused_bindings.ts";
import { accumulate, levelsOf, longestRun, type Reductions } from "./fused_loops.ts";
import type { Variant } from "./variant.ts";

// A long reduction with few results is split: its parts are reduced at the same time, and further passes fold their
// results, level by level.

/** The fewest elements of a part, unless the number of iterations demands shorter parts. */
const MIN_PART = 64;

/**
 * The number of parts of a reduction before each pass that folds them; empty if it is not split. It depends on counts of
 * elements alone, which are the same before and after the planner merges axes.
 */
export function splitLevels(kernel: Kernel, variant: Variant): number[] {
  if (kernel.reduce === undefined) return [];
  const results = sizeOf(keptShape(kernel));
  if (results === 0) return [];
  const terms = sizeOf(kernel.space) / results;
  const useful = Math.min(Math.ceil(4 * variant.busy / results), Math.floor(terms / MIN_PART));
  const most = variant.kind === "software" ? 128 : Infinity; // 128 are folded in one pass
  return levelsOf(Math.max(Math.min(useful, most), Math.ceil(terms / longestRun(kernel.nodes, variant))));
}

/** Bytes of workspace of a fused kernel: the partial results of a split reduction. */
export function fusedWorkspace(kernel: Kernel, variant: Variant): number {
  const parts = splitLevels(kernel, variant).reduce((a, b) => a + b, 0);
  return parts * (kernel.reduce?.reductions.length ?? 0) * sizeOf(keptShape(kernel)) * 4;
}

/**
 * The partial result of reduction `r` (of `reductions`) in part `part` of a level, at point `unit` of `units`. The
 * workspace holds the levels one after the other, and in each the reductions.
 */
export function partAt(
  reductions: number,
  r: number,
  levels: readonly number[],
  level: number,
  part: string,
  units: number,
): string {
  const before = levels.slice(0, level).reduce((a, b) => a + b, 0) * reductions;
  return `workspace[(${before + r * at(levels, level)}u + ${part}) * ${units}u + unit]`;
}

/** The passes that fold the partial results of a split reduction; none if it is not split. */
export function foldPasses(
  job: Job,
  reduce: NonNullable<Kernel["reduce"]>,
  levels: readonly number[],
): Call[] {
  if (levels.length === 0) return [];
  return [
    ...levels.slice(1).map((_, level) => foldParts(job, reduce, levels, level)),
    finish(job, reduce, levels),
  ];
}

/** The pass that folds the parts of one level into the fewer parts of the next. */
function foldParts(
  job: Job,
  { reductions }: NonNullable<Kernel["reduce"]>,
  levels: readonly number[],
  level: number,
): Call {
  const shape = keptShape(job.kernel);
  const lanes = lanesOf(shape);
  const units = sizeOf(shape) / lanes, step = at(levels, level + 1);
  const bindings = new Bindings(job);
  bindings.workspace(typeOf("u32", lanes), true);
  return bindings.call("reduceMore", units * step, job.variant.group, [
    `let unit = id % ${units}u;`,
    `let first = id / ${units}u;`,
    ...foldLevel(reductions, levels, level, "first", step, units, lanes, bindings.functions),
    ...reductions.map((_, r) => {
      const next = partAt(reductions.length, r, levels, level + 1, "first", units);
      return `${next} = bitcast<${typeOf("u32", lanes)}>(a${r});`;
    }),
  ]);
}

/** The pass that folds the parts of the last level and evaluates the epilogue. */
function finish(
  job: Job,
  { reductions, epilogue, stores }: NonNullable<Kernel["reduce"]>,
  levels: readonly number[],
): Call {
  const shape = keptShape(job.kernel);
  const lanes = lanesOf(shape);
  const walk: Walk = { shape, axes: axisNames(shape.length), lanes };
  const units = sizeOf(shape) / lanes;
  const bindings = new Bindings(job);
  bindings.visit(epilogue, stores, walk);
  bindings.workspace(typeOf("u32", lanes), false);
  return bindings.call("reduceRest", units, job.variant.group, [
    "let unit = id;",
    ...decode("unit", stepsOf(walk), walk.axes),
    ...foldLevel(reductions, levels, levels.length - 1, "0u", 1, units, lanes, bindings.functions),
    ...printNodes(epilogue, "e", bindings.context(walk, (r) => `a${r}`)),
    ...bindings.stores(stores, epilogue, "e", walk),
  ]);
}

/** Lines that fold the parts `first`, `first + step` … of a level. */
function foldLevel(
  reductions: Reductions,
  levels: readonly number[],
  level: number,
  first: string,
  step: number,
  units: number,
  lanes: Lanes,
  functions: Functions,
): string[] {
  const part = `(${first} + n * ${step}u)`, parts = at(levels, level);
  return accumulate({
    ...{ reductions, lanes, functions, body: [] },
    count: `((${parts - 1}u - ${first}) / ${step}u + 1u)`,
    most: Math.ceil(parts / step),
    term: (r) => {
      const read = partAt(reductions.length, r, levels, level, part, units);
      return `bitcast<${typeName(at(reductions, r).dtype, lanes)}>(${read})`;
    },
  });
}
