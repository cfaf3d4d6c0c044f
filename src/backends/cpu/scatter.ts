import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { I32 } from "./wasm/expressions.ts";
import { i32 } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import { channelVectors } from "./blocks.ts";
import { rowOf } from "./gather.ts";
import { LongSum } from "./long_sum.ts";
import type { Launch, Launches, Operand } from "./routine.ts";
import { storeColumns, WORD } from "./tile.ts";

/** Columns of a task. */
const TASK_COLUMNS = 64;
/** The most updates that are added one by one. */
const FEW = 256;

/**
 * `scatterAdd(updates, indices)`: each task sums some columns of every row, in index order. If there are more than a few
 * updates, they are first listed by row, so that the updates of a row can be summed in levels instead of one by one.
 */
export function scatterAdd(
  result: Aval,
  indices: Aval,
  updates: Operand,
  at: Operand,
  to: Operand,
): Launches {
  const positions = sizeOf(indices.shape);
  if (positions <= FEW) return { launches: [inTurn(result, indices, updates, at, to)], workspace: 0 };
  const lists = { workspace: 0 };
  return {
    launches: [listed(result.shape[0], indices, at, lists), byRow(result, positions, updates, lists, to)],
    workspace: (2 * result.shape[0] + 1 + positions) * WORD,
  };
}

const widthOf = (result: Aval): number => sizeOf(result.shape.slice(1));
const tasksOf = (result: Aval): number => Math.ceil(widthOf(result) / TASK_COLUMNS);

/** Adds the updates to their rows one by one. */
function inTurn(result: Aval, indices: Aval, updates: Operand, at: Operand, to: Operand): Launch {
  const rows = result.shape[0], width = widthOf(result), positions = sizeOf(indices.shape);
  return {
    operands: [updates, at, to],
    routine: {
      key: `scatterAdd ${[rows, width, positions, indices.dtype].join()}`,
      tasks: tasksOf(result),
      operands: 3,
      scratch: 0,
      build({ f, operands: [source, index, target], task }) {
        const from = f.int(i32.mul(task, TASK_COLUMNS));
        const end = f.int(i32.min(i32.add(from, TASK_COLUMNS), width));
        const [row, position] = [f.int(0), f.int(0)];
        const place = (address: I32, row: I32, offset: I32) =>
          f.int(i32.add(i32.add(address, i32.mul(row, width * WORD)), offset));
        f.for(row, 0, rows, 1, () => {
          channelVectors(f, width, from, end, (offset, lanes) => {
            storeColumns(f, place(target, row, offset), 0, [f32x4.constant(0)], lanes);
          });
        });
        f.for(position, 0, positions, 1, () => {
          const picked = rowOf(f, indices, i32.add(index, i32.mul(position, WORD)), rows);
          channelVectors(f, width, from, end, (offset, lanes) => {
            const sum = place(target, picked, offset);
            const update = v128.load(place(source, position, offset));
            storeColumns(f, sum, 0, [f32x4.add(v128.load(sum), update)], lanes);
          });
        });
      },
    },
  };
}

/**
 * Lists the updates of each row, in order, as linked lists. Updates are numbered from 1, and 0 ends a list. The words are
 * the first update of each row, then the last update of each row, then the successor of each update.
 */
function listed(rows: number, indices: Aval, at: Operand, lists: Operand): Launch {
  const positions = sizeOf(indices.shape);
  return {
    operands: [at, lists],
    routine: {
      key: `scatterAdd lists ${[rows, positions, indices.dtype].join()}`,
      tasks: 1,
      operands: 2,
      scratch: 0,
      build({ f, operands: [index, firsts] }) {
        const [row, number] = [f.int(0), f.int(0)];
        const followers = i32.add(firsts, 2 * rows * WORD);
        f.for(row, 0, 2 * rows, 1, () => f.do(i32.store(i32.add(firsts, i32.mul(row, WORD)), 0)));
        f.for(number, 1, positions + 1, 1, () => {
          const picked = rowOf(f, indices, i32.add(index, i32.mul(i32.sub(number, 1), WORD)), rows);
          const first = f.int(i32.add(firsts, i32.mul(picked, WORD)));
          const last = f.int(i32.load(first, rows * WORD));
          const before = f.int(i32.select(i32.add(followers, i32.mul(last, WORD)), first, last));
          f.do(i32.store(before, number));
          f.do(i32.store(first, number, rows * WORD));
          f.do(i32.store(i32.add(followers, i32.mul(number, WORD)), 0));
        });
      },
    },
  };
}

/** Sums each row's list. */
function byRow(result: Aval, positions: number, updates: Operand, lists: Operand, to: Operand): Launch {
  const rows = result.shape[0], width = widthOf(result);
  return {
    operands: [updates, lists, to],
    routine: {
      key: `scatterAdd by row ${[rows, width, positions].join()}`,
      tasks: tasksOf(result),
      operands: 3,
      scratch: 0,
      build({ f, operands: [source, firsts, target], task }) {
        const from = f.int(i32.mul(task, TASK_COLUMNS));
        const end = f.int(i32.min(i32.add(from, TASK_COLUMNS), width));
        const [row, number] = [f.int(0), f.int(0)];
        const followers = i32.add(firsts, 2 * rows * WORD);
        const place = (address: I32, row: I32, offset: I32) =>
          f.int(i32.add(i32.add(address, i32.mul(row, width * WORD)), offset));
        f.for(row, 0, rows, 1, () => {
          channelVectors(f, width, from, end, (offset, lanes) => {
            const sum = new LongSum(f, positions);
            f.set(number, i32.load(i32.add(firsts, i32.mul(row, WORD))));
            f.while(number, () => {
              sum.add(v128.load(place(source, i32.sub(number, 1), offset)));
              f.set(number, i32.load(i32.add(followers, i32.mul(number, WORD))));
            });
            storeColumns(f, place(target, row, offset), 0, [sum.total()], lanes);
          });
        });
      },
    },
  };
}
