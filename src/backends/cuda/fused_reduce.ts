import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { ReduceFn } from "../../trace/ops.ts";
import { axisNames, stepsOf } from "../index_text.ts";
import type { Call } from "./call.ts";
import { foldType, reductionStart, typeOf } from "./expressions.ts";
import {
  decode,
  type Form,
  Parameters,
  printBody,
  type ReduceForm,
  type Shared,
  type Walk,
} from "./fused_body.ts";
import { lanesOf, termsAtOnce, tileOf, widestOf } from "./tiling.ts";

/** A reduction to print. */
export interface Reduction {
  readonly form: Form;
  readonly reduce: ReduceForm;
  /** True if a block's threads are distributed over the terms of one result rather than over the results. */
  readonly along: boolean;
  /** Parts of the terms, each for a block of its own; part `p` of the workspace is at `p · results`. */
  readonly parts: number;
}

/**
 * Terms that a thread folds one by one before it adds their sum to the sums of earlier terms, so that errors do not grow
 * with the number of terms.
 */
const FAN = 64;

/** The walks and counts of a reduction. */
interface Layout {
  /** The walk over all elements. */
  readonly walk: Walk;
  /** The walk over the results. */
  readonly kept: Walk;
  /** Steps of the walk along each reduced axis. */
  readonly steps: readonly number[];
  /** The variables of the reduced axes. */
  readonly names: readonly string[];
  /** Steps of `kept`: the results, in runs of its lanes. */
  readonly units: number;
  /** Steps along all reduced axes: the terms of each result. */
  readonly terms: number;
  /** Terms of one part. */
  readonly part: number;
  /** Results and threads for the terms of each, in a block. */
  readonly width: number;
  readonly height: number;
}

function layoutOf(
  { form: { space, nodes }, reduce: { axes }, along, parts }: Reduction,
  isChain: boolean,
): Layout {
  const all = axisNames(space.length);
  const lanes = lanesOf(space.at(-1) ?? 1, widestOf(nodes));
  const isKept = (_: unknown, axis: number) => !axes.includes(axis);
  const kept: Walk = {
    shape: space.filter(isKept),
    axes: all.filter(isKept),
    lanes: axes.includes(space.length - 1) ? 1 : lanes,
  };
  const walk: Walk = { shape: space, axes: all, lanes };
  const allSteps = stepsOf(walk);
  const steps = axes.map((axis) => at(allSteps, axis)), names = axes.map((axis) => at(all, axis));
  const units = sizeOf(kept.shape) / kept.lanes, terms = sizeOf(steps);
  const part = Math.ceil(terms / parts);
  return { walk, kept, steps, names, units, terms, part, ...tileOf(along, units, part, isChain) };
}

/**
 * Prints passes over all elements that reduce the same axes, one after the other. The threads of a block are `width`
 * results by `height` threads for the terms of each. Every thread folds its terms, then the block folds the results of
 * its threads. If there are several parts, blocks write their results to the workspace, and the last block of a tile folds
 * those: whichever it is, always in the same order. Several passes have one part each: a block does all of them for its
 * results, with a barrier between them.
 */
export function printReductions(passes: readonly [Reduction, ...Reduction[]], shared: Shared): Call {
  const [first, ...others] = passes, { along, parts } = first;
  const isChain = others.length > 0;
  const layout = layoutOf(first, isChain);
  const { kept, units, width, height } = layout;
  const tiles = Math.ceil(units / width);
  const parameters = new Parameters();
  const lines = [
    ...(parts > 1
      ? [`const u32 tile = here % ${tiles}u, part = here / ${tiles}u;`]
      : [`const u32 tile = here;`]),
    along
      ? `const u32 x = thread() / ${height}u, y = thread() % ${height}u;`
      : `const u32 x = thread() % ${width}u, y = thread() / ${width}u;`,
    `const u32 unit = tile * ${width}u + x;`,
    ...(units % width === 0 ? ["const bool live = true;"] : [`const bool live = unit < ${units}u;`]),
    ...decode("unit", stepsOf(kept), kept.axes),
    ...passes.flatMap((pass, index) => {
      const own = passLines(pass, layoutOf(pass, isChain), parameters);
      return isChain ? [...(index > 0 ? ["barrier();"] : []), "{", ...own, "}"] : own;
    }),
  ];
  const label = isChain ? `chain${passes.length}` : "reduce";
  return parameters.call(label, tiles * parts, lines, shared, parts > 1 ? tiles : 0);
}

/** Lines of one pass. */
function passLines(reduction: Reduction, layout: Layout, parameters: Parameters): string[] {
  const { form, reduce: { reductions, epilogue, stores }, along, parts } = reduction;
  const { walk, kept, width, height } = layout;
  return [
    ...reductions.map(({ fn, dtype }, r) =>
      `Vec<${typeOf[dtype]}, ${walk.lanes}> a${r} = filled<${walk.lanes}, ${typeOf[dtype]}>(${
        reductionStart(fn, dtype)
      });`
    ),
    "if (live) {",
    ...foldTerms(reduction, layout, parameters).map((line) => `  ${line}`),
    "}",
    ...reductions.flatMap(({ fn, dtype }, r) => [
      `Vec<${typeOf[dtype]}, ${kept.lanes}> t${r};`,
      walk.lanes === kept.lanes
        ? `t${r} = a${r};`
        : `t${r}.at[0] = ${foldLanes(fn, `a${r}`, 0, walk.lanes)};`,
      `fold_across<${foldType[fn]}, ${height}, ${along ? 1 : width}>(t${r}, y);`,
    ]),
    ...(parts > 1 ? foldParts(reduction, layout, parameters) : []),
    ...(stores.length === 0 ? [] : [
      "if (y == 0 && live) {",
      ...printBody({
        ...{ inputs: form.inputs, nodes: epilogue, stores, walk: kept, prefix: "e" },
        reduced: (index) => `t${index}.at[e]`,
      }, parameters).map((line) => `  ${line}`),
      "}",
    ]),
  ];
}

/** Lines that write `t0`, `t1` … of a part to the workspace; in the last block of the tile, they become those of all. */
function foldParts(
  { reduce: { reductions }, along, parts }: Reduction,
  { kept, width, height }: Layout,
  parameters: Parameters,
): string[] {
  const results = sizeOf(kept.shape), { lanes } = kept;
  const partials = reductions.map(({ dtype }, index) =>
    parameters.nameOf({ slot: "workspace", offset: index * parts * results * 4, dtype, written: true })
  );
  return [
    `const u32 first = unit * ${lanes}u;`,
    `if (y == 0 && live) {`,
    ...partials.map((name, r) => `  store(${name} + part * ${results}u + first, t${r});`),
    "}",
    `if (!is_last(tickets + tile, ${parts}u)) return;`,
    ...reductions.map(({ fn, dtype }, r) =>
      `t${r} = filled<${lanes}, ${typeOf[dtype]}>(${reductionStart(fn, dtype)});`
    ),
    "if (live) {",
    `  UNROLL_BY(4) for (u32 q = y; q < ${parts}u; q += ${height}u) {`,
    ...reductions.flatMap(({ fn, dtype }, r) => [
      `    const Vec<${typeOf[dtype]}, ${lanes}> q${r} = load_fresh<${lanes}>(${
        at(partials, r)
      } + q * ${results}u + first);`,
      `    UNROLL for (u32 e = 0; e < ${lanes}u; ++e) t${r}.at[e] = ${
        foldType[fn]
      }::fold(t${r}.at[e], q${r}.at[e]);`,
    ]),
    "  }",
    "}",
    ...reductions.map(({ fn }, r) =>
      `fold_across<${foldType[fn]}, ${height}, ${along ? 1 : width}>(t${r}, y);`
    ),
  ];
}

/** Lines in which a thread folds its terms into `a0`, `a1` …, one for each reduction. */
function foldTerms(
  { form, reduce: { reductions }, parts }: Reduction,
  { walk, steps, names, terms, part, height }: Layout,
  parameters: Parameters,
): string[] {
  const bounds = parts > 1
    ? [
      `const u32 end = lesser((part + 1u) * ${part}u, ${terms}u);`,
      `const u32 start = part * ${part}u + y;`,
    ]
    : [`const u32 end = ${terms}u, start = y;`];
  const body = [
    ...decode("t", steps, names),
    ...printBody({
      ...{ inputs: form.inputs, nodes: form.nodes, stores: form.stores, walk, prefix: "v" },
      inside: reductions.map(({ fn, node }, r) =>
        `a${r}.at[e] = ${foldType[fn]}::fold(a${r}.at[e], v${node});`
      ),
    }, parameters),
  ];
  const accesses = form.nodes.filter((node) => node.kind === "load").length;
  const unroll = `UNROLL_BY(${termsAtOnce(accesses)})`;
  if (part <= FAN * height) {
    return [
      ...bounds,
      `${unroll} for (u32 t = start; t < end; t += ${height}u) {`,
      ...body.map((line) => `  ${line}`),
      "}",
    ];
  }
  return [
    ...bounds,
    ...reductions.map((_, r) => `auto b${r} = a${r}, none${r} = a${r};`),
    `for (u32 first = start; first < end; first += ${FAN * height}u) {`,
    `  const u32 last = lesser(first + ${FAN * height}u, end);`,
    `  ${unroll} for (u32 t = first; t < last; t += ${height}u) {`,
    ...body.map((line) => `    ${line}`),
    "  }",
    ...reductions.map(({ fn }, r) =>
      `  UNROLL for (u32 e = 0; e < ${walk.lanes}u; ++e) ` +
      `b${r}.at[e] = ${foldType[fn]}::fold(b${r}.at[e], a${r}.at[e]);`
    ),
    `  ${reductions.map((_, r) => `a${r} = none${r};`).join(" ")}`,
    "}",
    reductions.map((_, r) => `a${r} = b${r};`).join(" "),
  ];
}

/** Folds `lanes` elements of a vector from `from` on, pairwise. */
function foldLanes(fn: ReduceFn, vector: string, from: number, lanes: number): string {
  if (lanes === 1) return `${vector}.at[${from}]`;
  const half = lanes / 2;
  const [low, high] = [from, from + half].map((start) => foldLanes(fn, vector, start, half));
  return `${foldType[fn]}::fold(${low}, ${high})`;
}
