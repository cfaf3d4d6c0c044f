import type { Kernel, Node, View } from "../../compile/kernel.ts";
import { type Aval, type DType, hostArrays, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { ReduceFn } from "../../trace/ops.ts";
import type { Operand } from "./routine.ts";

/** Writes node `node` to operand `operand`, at `view`. */
export interface NestStore {
  readonly node: number;
  readonly operand: number;
  readonly view: View;
}

/** One reduction over the reduced axes. */
export interface Reduction {
  readonly fn: ReduceFn;
  readonly node: number;
  readonly dtype: DType;
}

/**
 * A fused kernel as loops: like {@link Kernel}, but with operands in place of values, a view for each store, and all
 * views over all axes (those of the epilogue have stride 0 along reduced ones). There is at least one axis; vectors run
 * along the last one.
 */
export interface Nest {
  readonly space: readonly number[];
  /** True for each axis that is reduced. */
  readonly reduced: readonly boolean[];
  /** The operands, to which nodes' `input` and stores' `operand` refer. */
  readonly operands: readonly Operand[];
  /** Bytes of an element of each operand. */
  readonly elementBytes: readonly number[];
  readonly nodes: readonly Node[];
  readonly stores: readonly NestStore[];
  readonly reductions: readonly Reduction[];
  readonly epilogue: readonly Node[];
  readonly epilogueStores: readonly NestStore[];
}

/** Bytes of an element in memory. */
export const elementSize = (dtype: DType): number => hostArrays[dtype].BYTES_PER_ELEMENT;

/** Tests whether a node has a view. */
export function hasView(node: Node): node is Extract<Node, { readonly view: View }> {
  return "view" in node;
}

/** A nest with other axes, and every view mapped by `change`. */
export function mapViews(
  nest: Nest,
  space: readonly number[],
  reduced: readonly boolean[],
  change: (view: View) => View,
): Nest {
  const node = (n: Node): Node => hasView(n) ? { ...n, view: change(n.view) } : n;
  const store = (s: NestStore): NestStore => ({ ...s, view: change(s.view) });
  return {
    ...nest,
    space,
    reduced,
    nodes: nest.nodes.map(node),
    stores: nest.stores.map(store),
    epilogue: nest.epilogue.map(node),
    epilogueStores: nest.epilogueStores.map(store),
  };
}

/** Every view of a nest. */
function viewsOf(nest: Nest): View[] {
  return [
    ...[...nest.nodes, ...nest.epilogue].filter(hasView),
    ...nest.stores,
    ...nest.epilogueStores,
  ].map(({ view }) => view);
}

/** The nest of a compiler's kernel. */
export function nestOf(kernel: Kernel, values: readonly Aval[]): Nest {
  const { space, inputs, nodes, stores, reduce } = kernel;
  const operands: Operand[] = inputs.map((value) => ({ value }));
  const elementBytes = inputs.map((value) => elementSize(values[value].dtype));
  const target = (value: number, strides: readonly number[]) => {
    elementBytes.push(elementSize(values[value].dtype));
    return { operand: operands.push({ value }) - 1, view: { offset: 0, strides } };
  };
  const reduced = space.map((_, axis) => reduce?.axes.includes(axis) ?? false);
  /** Strides over the kept axes, as strides over all axes. */
  const spread = (strides: readonly number[]): number[] => {
    let next = 0;
    return reduced.map((isReduced) => isReduced ? 0 : strides[next++]);
  };
  const keptStrides = spread(stridesOf(space.filter((_, axis) => !reduced[axis])));
  const nest: Nest = {
    space,
    reduced,
    operands,
    elementBytes,
    nodes,
    stores: stores.map(({ node, output }) => ({ node, ...target(output, stridesOf(space)) })),
    reductions: reduce?.reductions ?? [],
    epilogue: (reduce?.epilogue ?? []).map((node) =>
      hasView(node) ? { ...node, view: { ...node.view, strides: spread(node.view.strides) } } : node
    ),
    epilogueStores: (reduce?.stores ?? []).map(({ node, output }) => ({
      node,
      ...target(output, keptStrides),
    })),
  };
  return merge(byBatch(nest, reduce?.outermost ?? 1));
}

/** A nest whose first axis is divided again into the batch and what is in an image. */
function byBatch(nest: Nest, batch: number): Nest {
  const { space: [points = 1, ...space], reduced: [first = true, ...reduced] } = nest;
  if (batch === 1 || batch === points) return nest;
  const inside = points / batch;
  return mapViews(nest, [batch, inside, ...space], [first, first, ...reduced], ({ offset, strides }) => {
    const [stride = 0, ...rest] = strides;
    return { offset, strides: [stride * inside, stride, ...rest] };
  });
}

/**
 * Drops axes of extent 1 and joins neighbouring axes that every view traverses as one. A sum over the first axis, which is
 * that of a batch, is not joined with others: views of values of an image or a position would forbid it, so the order of
 * its terms would depend on whether such values are read or recomputed within it.
 */
export function merge(nest: Nest): Nest {
  const views = viewsOf(nest);
  /** Each with its last axis, which has the stride of the whole. */
  const groups: { last: number; extent: number }[] = [];
  for (const [axis, extent] of nest.space.entries()) {
    if (extent === 1) continue;
    const outer = groups.at(-1);
    const isBatchSum = outer?.last === 0 && nest.reduced[0];
    if (
      outer !== undefined && !isBatchSum && nest.reduced[outer.last] === nest.reduced[axis] &&
      views.every(({ strides }) => strides[outer.last] === strides[axis] * extent)
    ) {
      outer.last = axis;
      outer.extent *= extent;
    } else {
      groups.push({ last: axis, extent });
    }
  }
  const space = groups.map(({ extent }) => extent);
  const reduced = groups.map(({ last }) => nest.reduced[last]);
  const merged = mapViews(nest, space, reduced, ({ offset, strides }) => ({
    offset,
    strides: groups.map(({ last }) => strides[last]),
  }));
  if (space.length > 0) return merged;
  const single = ({ offset }: View): View => ({ offset, strides: [1] });
  // A single point: one axis of extent 1, kept.
  return mapViews(merged, [1], [false], single);
}

/** The number of points of the kept axes. */
export function keptPoints({ space, reduced }: Nest): number {
  return sizeOf(space.filter((_, axis) => !reduced[axis]));
}
