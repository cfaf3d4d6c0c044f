import { sizeOf } from "../../trace/dtype.ts";
import type { Nest } from "./fused_nest.ts";
import { costOf } from "./fused_nodes.ts";
import { LANES } from "./tile.ts";

/** Vector instructions of a task worth handing out: some microseconds. */
const TASK_COST = 16384;
/** The least tasks of a large kernel. */
const MANY_TASKS = 64;
/** Instructions in an unrolled loop body. */
const BODY_COST = 64;
/** The most columns of sums over rows that one loop body computes where it also writes rows. */
const ROW_OF_SUMS = 32;

/** The division of a nest into tasks: blocks of kept rows or, if rows are long, pieces of one row. */
export interface Cut {
  readonly rows: number;
  readonly taskRows: number;
  /** Elements of a piece of the last axis; the whole axis if it is reduced. */
  readonly piece: number;
  readonly pieces: number;
  /** Vectors of a loop body. */
  readonly unroll: number;
}

/** Cuts a nest into tasks. */
export function cutNest(nest: Nest): Cut {
  const { space, reduced, nodes, stores, reductions } = nest;
  const last = space.length - 1;
  const extent = space[last];
  const rows = sizeOf(space.filter((_, axis) => axis < last && !reduced[axis]));
  const rowTerms = sizeOf(space.filter((_, axis) => axis < last && reduced[axis]));
  const cost = Math.max(
    1,
    nodes.reduce((sum, node) => sum + costOf(node), stores.length + reductions.length),
  );
  const vectors = Math.max(1, Math.ceil(extent / LANES) * rowTerms);
  // Large kernels are cut into many tasks, but not into tasks too small to hand out.
  const taskVectors = Math.max(TASK_COST / cost, rows * vectors / MANY_TASKS);
  const rowVectors = Math.max(1, Math.floor(extent / LANES));
  const unroll = wholeRows(nest)
    ? rowVectors
    : Math.max(1, Math.min(4, Math.floor(BODY_COST / cost), rowVectors));
  if (!reduced[last] && vectors >= 2 * taskVectors) {
    const unit = unroll * LANES;
    const piece = Math.max(unit, Math.floor(taskVectors / rowTerms / unroll) * unit);
    return { rows, taskRows: 1, piece, pieces: Math.ceil(extent / piece), unroll };
  }
  return { rows, taskRows: Math.max(1, Math.floor(taskVectors / vectors)), piece: extent, pieces: 1, unroll };
}

/**
 * Tests whether a loop body is a whole row, so that memory is traversed in order: where rows were turned into inner loops
 * (fused_rows.ts), and where sums over rows also write them. (With stores, rows of 32 columns in two passes took 1.7 times
 * as long once the data exceeded the caches. Without stores, registers count for more.)
 */
function wholeRows({ space, reduced, stores, reductions }: Nest): boolean {
  const last = space.length - 1;
  if (reduced[last] || !reduced.includes(true)) return false;
  return reductions.length === 0 || stores.length > 0 && space[last] <= ROW_OF_SUMS;
}
