import type { Node, View } from "../../compile/kernel.ts";
import { type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { Operand } from "./routine.ts";
import { keptPoints, mapViews, type Nest, type NestStore } from "./fused_nest.ts";

/** The least points of a chunk. */
const CHUNK_POINTS = 4096;
/** Enough kept rows to give a few dozen threads their tasks. */
const ENOUGH_ROWS = 16;
/** The longest sum that is never cut: adding more terms in f32 one by one loses digits. */
const LONGEST_FOLD = 8192;
/** The most chunks. */
const MOST_CHUNKS = 64;

/** The parts of a reduction, in the order they run, and the workspace of their partial results. */
export interface SplitNest {
  readonly nests: readonly Nest[];
  readonly workspace: number;
}

/**
 * Cuts a reduction that has too few kept points, or too many terms, into chunks of its outermost reduced axis, or of the
 * longest if that one is short. A second, small kernel combines the chunks' results, which start at byte `workspaceStart`
 * of the workspace, and has the epilogue. The cut depends on shapes alone.
 */
export function splitReduction(nest: Nest, workspaceStart: number = 0): SplitNest {
  const whole = { nests: [nest], workspace: 0 };
  const axis = splitAxis(nest);
  if (axis < 0) return whole;
  const kept = keptPoints(nest);
  const terms = sizeOf(nest.space) / kept;
  const rows = sizeOf(nest.space.slice(0, -1).filter((_, a) => !nest.reduced[a]));
  const last = nest.space.length - 1;
  const parallel = nest.reduced[last] ? rows : rows * Math.ceil(nest.space[last] / 64);
  const points = sizeOf(nest.space);
  if (parallel >= ENOUGH_ROWS && terms <= LONGEST_FOLD) return whole;
  const extent = nest.space[axis];
  const wanted = Math.min(MOST_CHUNKS, extent, Math.floor(points / CHUNK_POINTS));
  if (wanted < 2) return whole;
  // Chunks of the last axis are whole vectors.
  const unit = axis === last ? 4 : 1;
  const chunk = Math.ceil(extent / wanted / unit) * unit;
  const full = Math.floor(extent / chunk);
  const rest = extent - full * chunk;
  const chunks = full + (rest > 0 ? 1 : 0);
  if (chunks < 2) return whole;
  const partials = nest.reductions.map((_, i): Operand => ({
    workspace: workspaceStart + i * chunks * kept * 4,
  }));
  const parts = [partialNest(nest, axis, 0, full, chunk, partials)];
  if (rest > 0) parts.push(partialNest(nest, axis, full, 1, rest, partials, chunk));
  return {
    nests: [...parts, foldNest(nest, chunks, partials)],
    workspace: nest.reductions.length * chunks * kept * 4,
  };
}

/** The reduced axis to cut; −1 if there is none. */
function splitAxis({ space, reduced }: Nest): number {
  const axes = [...space.keys()].filter((axis) => reduced[axis]);
  const longest = Math.max(...axes.map((axis) => space[axis]));
  return axes.find((axis) => space[axis] >= ENOUGH_ROWS || space[axis] === longest) ?? -1;
}

/** Strides of the kept axes in row-major order, 0 along the reduced ones. */
function keptStrides({ space, reduced }: Nest): number[] {
  const strides = stridesOf(space.map((extent, axis) => reduced[axis] ? 1 : extent));
  return strides.map((stride, axis) => reduced[axis] ? 0 : stride);
}

/** `count` chunks of `extent` along `axis`, from chunk `first`; each writes its own row of partial results. */
function partialNest(
  nest: Nest,
  axis: number,
  first: number,
  count: number,
  extent: number,
  partials: readonly Operand[],
  chunk: number = extent,
): Nest {
  const insert = <T>(list: readonly T[], outer: T, inner: T): T[] => [
    ...list.slice(0, axis),
    outer,
    inner,
    ...list.slice(axis + 1),
  ];
  const changed = mapViews(
    nest,
    insert(nest.space, count, extent),
    insert<boolean>(nest.reduced, false, true),
    ({ offset, strides }) => ({
      offset: offset + first * chunk * strides[axis],
      strides: insert(strides, chunk * strides[axis], strides[axis]),
    }),
  );
  const kept = keptPoints(nest);
  const rowView: View = { offset: first * kept, strides: insert(keptStrides(nest), kept, 0) };
  const operands = [...nest.operands, ...partials];
  return {
    ...changed,
    operands,
    elementBytes: [...nest.elementBytes, ...partials.map(() => 4)],
    epilogue: nest.reductions.map(({ dtype }, index): Node => ({ kind: "reduced", index, dtype })),
    epilogueStores: partials.map((_, i): NestStore => ({
      node: i,
      operand: nest.operands.length + i,
      view: rowView,
    })),
  };
}

/** Combines the rows of partial results and evaluates the epilogue. */
function foldNest(nest: Nest, chunks: number, partials: readonly Operand[]): Nest {
  const kept = keptPoints(nest);
  const space: Shape = [chunks, ...nest.space.filter((_, axis) => !nest.reduced[axis])];
  const onKept = ({ offset, strides }: View): View => ({
    offset,
    strides: [0, ...strides.filter((_, axis) => !nest.reduced[axis])],
  });
  const changed = mapViews(
    { ...nest, nodes: [], stores: [] },
    space,
    space.map((_, axis) => axis === 0),
    onKept,
  );
  const view: View = { offset: 0, strides: [kept, ...stridesOf(space.slice(1))] };
  return {
    ...changed,
    operands: [...nest.operands, ...partials],
    elementBytes: [...nest.elementBytes, ...partials.map(() => 4)],
    nodes: nest.reductions.map(({ dtype }, i): Node => ({
      kind: "load",
      input: nest.operands.length + i,
      view,
      dtype,
    })),
    reductions: nest.reductions.map((reduction, i) => ({ ...reduction, node: i })),
  };
}
