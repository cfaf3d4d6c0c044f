import { type Aval, sizeOf } from "../../trace/dtype.ts";
import { f32, f32x4, type I32, i32, type Int, int, v128 } from "./wasm/expressions.ts";
import type { FunctionBuilder, Local } from "./wasm/module.ts";
import { copyWords } from "./blocks.ts";
import type { Launch, Operand } from "./routine.ts";
import { LANES, WORD } from "./tile.ts";

/** Elements a task moves, about. */
const TASK_ELEMENTS = 16384;
/** Columns of a task of scatterAdd. */
const TASK_COLUMNS = 64;

/** The row an index means: clamped into range. */
function rowOf(f: FunctionBuilder, indices: Aval, address: I32, rows: number): Local<"i32"> {
  const index = f.int(i32.load(address));
  const last = rows - 1;
  if (indices.dtype === "i32") f.set(index, i32.max(0, i32.min(index, last)));
  else f.set(index, i32.select(last, index, i32.gtU(index, last)));
  return index;
}

/** `gather(operand, indices)`. */
export function gather(operand: Aval, indices: Aval, from: Operand, at: Operand, to: Operand): Launch {
  const rows = operand.shape[0];
  const width = sizeOf(operand.shape.slice(1));
  const positions = sizeOf(indices.shape);
  const bytes = operand.dtype === "u8";
  const taskPositions = Math.max(1, Math.floor(TASK_ELEMENTS / Math.max(1, width)));
  return {
    operands: [from, at, to],
    routine: {
      key: `gather ${[rows, width, positions, bytes, indices.dtype].join()}`,
      tasks: width === 0 ? 0 : Math.ceil(positions / taskPositions),
      operands: 3,
      scratch: 0,
      build({ f, operands: [source, index, target], task }) {
        const position = f.int(i32.mul(task, taskPositions));
        const end = f.int(i32.min(i32.add(position, taskPositions), positions));
        f.while(i32.ltU(position, end), () => {
          const row = rowOf(f, indices, i32.add(index, i32.mul(position, WORD)), rows);
          const out = f.int(i32.add(target, i32.mul(position, width * WORD)));
          if (!bytes) copyWords(f, i32.add(source, i32.mul(row, width * WORD)), out, int(width));
          else {
            const p = f.int(i32.add(source, i32.mul(row, width)));
            const last = f.int(i32.add(p, width));
            f.while(i32.ltU(p, last), () => {
              f.do(f32.store(out, f32.fromI32U(i32.load8u(p))));
              f.increment(p, 1);
              f.increment(out, WORD);
            });
          }
          f.increment(position, 1);
        });
      },
    },
  };
}

/**
 * `scatterAdd(updates, indices)`: each task adds up some columns of every row, in index order. Where there are many
 * updates for few rows, those of a block are summed apart, so that they are not added up one by one.
 */
export function scatterAdd(result: Aval, indices: Aval, updates: Operand, at: Operand, to: Operand): Launch {
  const rows = result.shape[0];
  const width = sizeOf(result.shape.slice(1));
  const positions = sizeOf(indices.shape);
  const tasks = Math.ceil(width / TASK_COLUMNS);
  const blocked = positions > BLOCK_POSITIONS && rows <= BLOCK_ROWS;
  return {
    operands: [updates, at, to],
    routine: {
      key: `scatterAdd ${[rows, width, positions, indices.dtype].join()}`,
      tasks,
      operands: 3,
      scratch: blocked ? rows * TASK_COLUMNS * WORD : 0,
      build({ f, operands: [source, index, target], task, scratch }) {
        const first = f.int(i32.mul(task, TASK_COLUMNS * WORD));
        const end = f.int(i32.min(i32.add(first, TASK_COLUMNS * WORD), width * WORD));
        const whole = f.int(i32.min(end, (width & -LANES) * WORD));
        const [row, position, at, from, to] = [0, 0, 0, 0, 0].map((value) => f.int(value));
        const [out, update] = [i32.add(to, at), i32.add(from, at)];
        const columns = (vector: () => void, word: () => void) => {
          f.set(at, first);
          f.while(i32.ltS(at, whole), () => {
            vector();
            f.increment(at, LANES * WORD);
          });
          f.while(i32.ltS(at, end), () => {
            word();
            f.increment(at, WORD);
          });
        };
        /** Adds the columns at `from` to those at `to`. */
        const add = () =>
          columns(
            () => f.do(v128.store(out, f32x4.add(v128.load(out), v128.load(update)))),
            () => f.do(f32.store(out, f32.add(f32.load(out), f32.load(update)))),
          );
        const clear = (sums: Sums) =>
          f.for(row, 0, rows, 1, () => {
            f.set(to, i32.add(sums.address, i32.mul(row, sums.pitch)));
            columns(
              () => f.do(v128.store(out, f32x4.constant(0))),
              () => f.do(i32.store(out, 0)),
            );
          });
        const addUpdates = (sums: Sums, start: Int, stop: Int) =>
          f.for(position, start, stop, 1, () => {
            const picked = rowOf(f, indices, i32.add(index, i32.mul(position, WORD)), rows);
            f.set(to, i32.add(sums.address, i32.mul(picked, sums.pitch)));
            f.set(from, i32.add(source, i32.mul(position, width * WORD)));
            add();
          });
        const results: Sums = { address: target, pitch: width * WORD };
        clear(results);
        if (!blocked) return addUpdates(results, 0, positions);
        // Columns are counted from the row's first, which in the scratch memory lies before its start.
        const block: Sums = { address: f.int(i32.sub(scratch, first)), pitch: TASK_COLUMNS * WORD };
        const [start, stop] = [f.int(0), f.int(0)];
        f.for(start, 0, positions, BLOCK_POSITIONS, () => {
          f.set(stop, i32.min(i32.add(start, BLOCK_POSITIONS), positions));
          clear(block);
          addUpdates(block, start, stop);
          f.for(row, 0, rows, 1, () => {
            f.set(from, i32.add(block.address, i32.mul(row, block.pitch)));
            f.set(to, i32.add(results.address, i32.mul(row, results.pitch)));
            add();
          });
        });
      },
    },
  };
}

/** Updates that are summed apart. */
const BLOCK_POSITIONS = 1024;
/** Rows that a block's sums are held for, at most: more have fewer updates each, and would take much memory. */
const BLOCK_ROWS = 1024;

/** Where the sums of rows lie, `pitch` bytes apart. */
interface Sums {
  readonly address: Local<"i32">;
  readonly pitch: number;
}
