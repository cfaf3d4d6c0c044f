import { sizeOf } from "../../trace/dtype.ts";
import { hasView, type Nest } from "./fused_nest.ts";
import { costOf } from "./fused_nodes.ts";
import { LANES } from "./tile.ts";

/** Vector instructions of a task worth handing out: some microseconds. */
const TASK_COST = 16384;
/** The least tasks of a large kernel. */
const MANY_TASKS = 64;
/** Instructions in an unrolled loop body. */
const BODY_COST = 64;
/**
 * Vectors of a body that sums along rows, whatever it costs: they are as many sums side by side, and a sum's bits must not
 * depend on what else its kernel computes, which differs with what is recomputed or trained by another process.
 */
const SUMMED_VECTORS = 4;
/** Rows read and written by a nest whose data exceed the caches for certain. */
const MANY_ROWS = 20_000;
/** The vectors of a body that sums many rows, the most columns of such rows, and the most instructions of a vector. */
const ROW_VECTORS = 16;
const WIDEST_ROW = 128;
const ROW_COST = 32;

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
  const unroll = Math.max(1, Math.min(bodyVectors(nest, cost), Math.floor(extent / LANES)));
  if (!reduced[last] && vectors >= 2 * taskVectors) {
    const unit = unroll * LANES;
    const piece = Math.max(unit, Math.floor(taskVectors / rowTerms / unroll) * unit);
    return { rows, taskRows: 1, piece, pieces: Math.ceil(extent / piece), unroll };
  }
  return { rows, taskRows: Math.max(1, Math.floor(taskVectors / vectors)), piece: extent, pieces: 1, unroll };
}

/**
 * The most vectors of a loop body. Rows that were turned into inner loops (fused_rows.ts) are one body, and so are rows
 * where many are summed: a few columns at a time stay in registers, but skip the other columns in memory. (The gradient of
 * batch norm of 25,088 rows of 64 columns takes 1.1 ms with four vectors and 0.5 ms with sixteen; of 2,048 rows, 39 and 42
 * µs.)
 */
function bodyVectors(nest: Nest, cost: number): number {
  const { space, reduced, reductions } = nest;
  const last = space.length - 1;
  if (reduced[last]) return SUMMED_VECTORS;
  const overRows = reduced.includes(true);
  if (overRows && reductions.length === 0) return Infinity;
  const short = space[last] <= WIDEST_ROW && cost <= ROW_COST;
  if (overRows && short && rowsMoved(nest) >= MANY_ROWS) return ROW_VECTORS;
  return Math.min(4, Math.floor(BODY_COST / cost));
}

/** The rows that a nest reads and writes, of all operands together. */
function rowsMoved({ space, nodes, stores }: Nest): number {
  const last = space.length - 1; // a value per column has no stride along the rows
  const read = nodes.filter((node) => hasView(node) && node.view.strides[last - 1] !== 0);
  return sizeOf(space.slice(0, last)) * (read.length + stores.length);
}
