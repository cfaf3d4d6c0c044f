import { at } from "../../base/at.ts";
import type { Kernel, Node } from "../../compile/kernel.ts";
import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { axisNames, stepsOf } from "../index_text.ts";
import { type Call, typeOf } from "./call.ts";
import { fold, printNodes } from "./expressions.ts";
import type { Functions } from "./functions.ts";
import { Bindings, decode, type Job, lanesOf, type Walk } from "./fused_bindings.ts";
import { accumulate, longestRun, type Reductions } from "./fused_loops.ts";
import { foldPasses, partAt, splitLevels } from "./fused_split.ts";
import type { Variant } from "./variant.ts";

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
  const levels = splitLevels(kernel, variant);
  return [pass(job, kernel.reduce.axes, levels[0] ?? 1), ...foldPasses(job, kernel.reduce, levels)];
}

/** An element-wise pass, with one invocation for each point or every four. */
function map(job: Job): Call {
  const { kernel, variant } = job;
  const walk = { shape: kernel.space, axes: axisNames(kernel.space.length), lanes: lanesOf(kernel.space) };
  const bindings = new Bindings(job);
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
  const { space, nodes } = job.kernel;
  const [count = 1, ...row] = space;
  const units = Math.max(1, sizeOf(row) / lanesOf(space));
  const useful = Math.min(count, Math.ceil(4 * job.variant.busy / units));
  return pass(job, [0], Math.max(1, useful, Math.ceil(count / longestRun(nodes, job.variant))));
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
  const lanes = lanesOf(space);
  const lastFolded = axes.includes(space.length - 1);
  const stays = (_: unknown, axis: number): boolean => !axes.includes(axis);
  const walk: Walk = { shape: space, axes: all, lanes };
  const kept: Walk = { shape: space.filter(stays), axes: all.filter(stays), lanes: lastFolded ? 1 : lanes };
  const extents = stepsOf(walk);
  const units = sizeOf(extents.filter(stays)),
    folded = axes.map((axis) => at(extents, axis)),
    terms = sizeOf(folded);

  const bindings = new Bindings(job);
  bindings.visit(nodes, stores, walk);
  const whole = reduce !== undefined && parts === 1, split = reduce !== undefined && parts > 1;
  if (whole) bindings.visit(reduce.epilogue, reduce.stores, kept);
  if (split) bindings.workspace(typeOf("u32", kept.lanes), true);

  const once = invariants(nodes, axes);
  const total = (r: number): string =>
    lastFolded && lanes === 4 ? across(at(reductions, r), `a${r}`, bindings.functions) : `a${r}`;
  const label = reduce === undefined ? "rows" : whole ? "reduce" : "reduceParts";
  return bindings.call(label, units * parts, variant.group, [
    ...(parts === 1 ? ["let unit = id;"] : [`let unit = id % ${units}u;`, `let part = id / ${units}u;`]),
    ...decode("unit", extents.filter(stays), kept.axes),
    ...printNodes(nodes, "v", bindings.context(walk), (i) => at(once, i)),
    ...accumulate({
      ...{ reductions, lanes, functions: bindings.functions, ...termsOf(terms, parts, variant) },
      body: [
        ...decode(
          termOf(terms, parts, variant),
          folded,
          axes.map((axis) => at(all, axis)),
        ),
        ...printNodes(nodes, "v", bindings.context(walk), (i) => !at(once, i)),
        ...bindings.stores(stores, nodes, "v", walk),
      ],
      term: (r) => `v${at(reductions, r).node}`,
    }),
    ...(whole
      ? [
        ...printNodes(reduce.epilogue, "e", bindings.context(kept, total)),
        ...bindings.stores(reduce.stores, reduce.epilogue, "e", kept),
      ]
      : reductions.map((_, r) =>
        `${partAt(reductions.length, r, [parts], 0, "part", units)} = bitcast<${typeOf("u32", kept.lanes)}>(${
          total(r)
        });`
      )),
  ]);
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
  const two = (x: string, y: string) => fold(fn, x, y, dtype, { lanes: 1, functions });
  return two(`(${two(`${a}.x`, `${a}.y`)})`, `(${two(`${a}.z`, `${a}.w`)})`);
}
