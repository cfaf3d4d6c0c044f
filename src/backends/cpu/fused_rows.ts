import { mapViews, type Nest } from "./fused_nest.ts";
import { costOf, levelsOf } from "./fused_nodes.ts";
import { LANES } from "./tile.ts";

/** The most rows of a block. */
const BLOCK_ROWS = 64;
/** The least rows for which values of columns are worth keeping. */
const LEAST_ROWS = 4;
/** The most vectors of a row that is one loop body, and the most instructions of such a body. */
const ROW_VECTORS = 16;
const BODY_COST = 512;

/**
 * Turns rows into inner loops where an element-wise nest has values that depend on the column alone, such as the scale of
 * a channel: they are then read and computed once for a block of rows. A whole row is one loop body, so that memory is
 * still read and written in order: rows of 32 columns in two passes took up to 1.5 times as long as without this. Sums
 * over rows have such loops anyway.
 */
export function rowsInside(nest: Nest): Nest {
  const { space, reduced } = nest;
  const axis = space.length - 2;
  if (axis < 0 || reduced.includes(true)) return nest;
  const vectors = space[axis + 1] / LANES;
  const cost = nest.nodes.reduce((sum, node) => sum + costOf(node), nest.stores.length);
  if (!Number.isInteger(vectors) || vectors > ROW_VECTORS || vectors * cost > BODY_COST) return nest;
  const extent = space[axis];
  let rows = Math.min(BLOCK_ROWS, extent);
  while (extent % rows !== 0) rows--;
  if (rows < LEAST_ROWS) return nest;
  const split = <T>(list: readonly T[], ...parts: T[]): T[] => list.toSpliced(axis, 1, ...parts);
  const inside = mapViews(
    nest,
    split(space, extent / rows, rows),
    split<boolean>(reduced, false, true),
    ({ offset, strides }) => ({ offset, strides: split(strides, strides[axis] * rows, strides[axis]) }),
  );
  return levelsOf(inside, inside.nodes).includes(3) ? inside : nest;
}
