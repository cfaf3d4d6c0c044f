import { f32x4, type I32, i32, type Int, v128 } from "./wasm/expressions.ts";
import type { FunctionBuilder, Local } from "./wasm/module.ts";
import type { Launch, Lowered, Operand, Routine, RoutineContext } from "./routine.ts";
import { accumulate, newTile, TILE_COLUMNS, TILE_ROWS, TILE_VECTORS, WORD } from "./tile.ts";
import { copyWords, packTransposed } from "./blocks.ts";
import { sumChunks } from "./sum_chunks.ts";

/** A product of matrices, or of each pair of two batches of them. */
export interface MatrixProduct {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** A is stored `[k, m]`. */
  readonly transposeA: boolean;
  /** B is stored `[n, k]`. */
  readonly transposeB: boolean;
}

/** Rows of a task's block of C: what a packed panel of B is used for. */
const BLOCK_ROWS = 96;
/** Columns of a block of C. */
const BLOCK_COLUMNS = 128;
/** Products taken between two visits to a block of C; a panel of B this deep (8 KiB) stays in the first cache. */
const DEPTH = 256;
/** Tasks enough for a few dozen threads, and worth splitting K for where C alone gives fewer. */
const ENOUGH_TASKS = 16;
/** K is not split more finely than this. */
const LEAST_SPLIT = 512;

/** Near-equal blocks of at most `most`, each but the last a multiple of `unit`. */
function blockSize(extent: number, most: number, unit: number): number {
  const blocks = Math.ceil(extent / most);
  return Math.ceil(extent / blocks / unit) * unit;
}

/** `a · b → c`, all f32 and row-major. */
export function matrixProduct(product: MatrixProduct, a: Operand, b: Operand, c: Operand): Lowered {
  const { batch, m, n, k } = product;
  if (batch * m * n === 0) return { launches: [], workspace: 0 };
  const blocks = batch * Math.ceil(m / BLOCK_ROWS) * Math.ceil(n / BLOCK_COLUMNS);
  const splits = blocks >= ENOUGH_TASKS
    ? 1
    : Math.max(1, Math.min(Math.ceil(ENOUGH_TASKS / blocks), Math.floor(k / LEAST_SPLIT)));
  const target: Operand = splits > 1 ? { workspace: 0 } : c;
  const launches: Launch[] = [{ routine: productRoutine(product, splits), operands: [a, b, target] }];
  if (splits === 1) return { launches, workspace: 0 };
  launches.push(sumChunks(splits, batch * m * n, target, c));
  return { launches, workspace: splits * batch * m * n * WORD };
}

function productRoutine(product: MatrixProduct, splits: number): Routine {
  const { batch, m, n, k, transposeA, transposeB } = product;
  const rows = blockSize(m, BLOCK_ROWS, TILE_ROWS);
  const columns = blockSize(n, BLOCK_COLUMNS, TILE_COLUMNS);
  const split = Math.ceil(k / splits);
  const slices = Math.max(1, Math.ceil(split / DEPTH));
  const depth = Math.ceil(split / slices);
  const rowBlocks = Math.ceil(m / rows);
  const columnBlocks = Math.ceil(n / columns);
  const panelBytes = depth * TILE_COLUMNS * WORD;
  const blockBytes = rows * columns * WORD;
  return {
    key: `product ${[batch, m, n, k, transposeA, transposeB, splits].join()}`,
    tasks: splits * batch * rowBlocks * columnBlocks,
    operands: 3,
    scratch: blockBytes + panelBytes * columns / TILE_COLUMNS,
    build(context) {
      const { f, task, scratch } = context;
      const [a, b, c] = context.operands;
      const remaining = f.int(task);
      const digit = (base: number): Local<"i32"> => {
        const value = f.int(i32.remU(remaining, base));
        f.set(remaining, i32.divU(remaining, base));
        return value;
      };
      const column = f.int(i32.mul(digit(columnBlocks), columns));
      const row = f.int(i32.mul(digit(rowBlocks), rows));
      f.increment(a, i32.mul(i32.remU(remaining, batch), m * k * WORD));
      f.increment(b, i32.mul(i32.remU(remaining, batch), k * n * WORD));
      f.increment(c, i32.mul(remaining, m * n * WORD)); // a split's partial products lie split by split
      const first = f.int(i32.mul(i32.divU(remaining, batch), split));
      const end = f.int(i32.min(i32.add(first, split), k));
      const rowCount = f.int(i32.min(i32.sub(m, row), rows));
      const columnCount = f.int(i32.min(i32.sub(n, column), columns));
      const panels = f.int(i32.add(scratch, blockBytes));
      clear(f, scratch, blockBytes);
      const position = f.int(0);
      f.for(position, first, end, depth, () => {
        const taken = f.int(i32.min(i32.sub(end, position), depth));
        packPanels(context, product, b, position, taken, column, columnCount, panels, panelBytes);
        // Depths that occur: whole slices, and what is left of a split and of the last one.
        const depths = new Set<number>();
        for (let s = 0; s < splits; s++) {
          const extent = Math.min(k, (s + 1) * split) - s * split;
          if (extent >= depth) depths.add(depth);
          if (extent > 0 && extent % depth !== 0) depths.add(extent % depth);
        }
        for (const known of depths) {
          f.if(
            depths.size === 1 ? i32.add(1, 0) : i32.eq(taken, known),
            () =>
              multiplyBlock(f, product, known, {
                a: aAddress(product, a, row, position),
                panels,
                panelBytes,
                block: scratch,
                blockColumns: columns,
                rowCount,
                columnCount,
              }),
          );
        }
      });
      const corner = f.int(i32.add(c, i32.mul(i32.add(i32.mul(row, n), column), WORD)));
      const i = f.int(0);
      f.for(i, 0, rowCount, 1, () => {
        copyWords(
          f,
          i32.add(scratch, i32.mul(i, columns * WORD)),
          i32.add(corner, i32.mul(i, n * WORD)),
          columnCount,
        );
      });
    },
  };
}

function aAddress({ m, k, transposeA }: MatrixProduct, a: I32, row: Int, position: Int): I32 {
  const element = transposeA ? i32.add(i32.mul(position, m), row) : i32.add(i32.mul(row, k), position);
  return i32.add(a, i32.mul(element, WORD));
}

function clear(f: FunctionBuilder, address: I32, bytes: number): void {
  const p = f.int(0);
  f.for(p, address, i32.add(address, bytes), 16, () => f.do(v128.store(p, f32x4.constant(0))));
}

/** Copies `taken` rows of B's block into panels `[depth][8]`; columns past the matrix are left as they were. */
function packPanels(
  { f }: RoutineContext,
  { n, k, transposeB }: MatrixProduct,
  b: Local<"i32">,
  position: Local<"i32">,
  taken: Local<"i32">,
  column: Local<"i32">,
  columnCount: Local<"i32">,
  panels: Local<"i32">,
  panelBytes: number,
): void {
  const j = f.int(0);
  const panel = f.int(panels);
  const source = f.int(0);
  const target = f.int(0);
  f.for(j, 0, columnCount, TILE_COLUMNS, () => {
    const wide = i32.geS(i32.sub(columnCount, j), TILE_COLUMNS);
    const firstColumn = i32.add(column, j);
    if (!transposeB) {
      f.set(target, panel);
      const end = f.int(i32.add(panel, i32.mul(taken, TILE_COLUMNS * WORD)));
      f.set(source, i32.add(b, i32.mul(i32.add(i32.mul(position, n), firstColumn), WORD)));
      f.if(wide, () => {
        f.while(i32.ltU(target, end), () => {
          for (const offset of [0, 16]) f.do(v128.store(target, v128.load(source, offset), offset));
          f.increment(source, n * WORD);
          f.increment(target, TILE_COLUMNS * WORD);
        });
      }, () => {
        const width = f.int(i32.sub(columnCount, j));
        f.while(i32.ltU(target, end), () => {
          copyWords(f, source, target, width);
          f.increment(source, n * WORD);
          f.increment(target, TILE_COLUMNS * WORD);
        });
      });
    } else {
      packTransposed(
        f,
        i32.add(b, i32.mul(i32.add(i32.mul(firstColumn, k), position), WORD)),
        k,
        panel,
        taken,
        i32.min(i32.sub(columnCount, j), TILE_COLUMNS),
      );
    }
    f.increment(panel, panelBytes);
  });
}

interface Block {
  readonly a: I32;
  readonly panels: I32;
  readonly panelBytes: number;
  readonly block: Local<"i32">;
  readonly blockColumns: number;
  readonly rowCount: Local<"i32">;
  readonly columnCount: Local<"i32">;
}

/** Adds the products of `depth` columns of A and the packed rows of B to the block of C. */
function multiplyBlock(
  f: FunctionBuilder,
  { m, k, transposeA }: MatrixProduct,
  depth: number,
  block: Block,
): void {
  const rowPitch = (transposeA ? 1 : k) * WORD;
  const start = f.int(block.a);
  const panel = f.int(block.panels);
  const [i, j, a, b, tileAddress] = [0, 0, 0, 0, 0].map((value) => f.int(value));
  const tilePitch = block.blockColumns * WORD;
  const multiply = (height: number) => {
    const tile = newTile(f, height, TILE_VECTORS);
    f.set(tileAddress, i32.add(block.block, i32.add(i32.mul(i, tilePitch), i32.mul(j, WORD))));
    tile.forEach((row, r) => row.forEach((x, v) => f.set(x, v128.load(tileAddress, r * tilePitch + v * 16))));
    f.set(a, i32.add(start, i32.mul(i, rowPitch)));
    f.set(b, panel);
    accumulate(f, tile, {
      a,
      aRows: Array.from({ length: height }, (_, r) => r * rowPitch),
      aStep: (transposeA ? m : 1) * WORD,
      b,
      bStep: TILE_COLUMNS * WORD,
      count: depth,
    });
    tile.forEach((row, r) => row.forEach((x, v) => f.do(v128.store(tileAddress, x, r * tilePitch + v * 16))));
  };
  // The rows left over at the bottom of the matrix are the same number wherever they occur.
  const rest = m % TILE_ROWS;
  f.for(j, 0, block.columnCount, TILE_COLUMNS, () => {
    f.for(i, 0, block.rowCount, TILE_ROWS, () => {
      if (rest === 0) multiply(TILE_ROWS);
      else if (m < TILE_ROWS) multiply(rest);
      else {
        f.if(
          i32.leS(i32.add(i, TILE_ROWS), block.rowCount),
          () => multiply(TILE_ROWS),
          () => multiply(rest),
        );
      }
    });
    f.increment(panel, block.panelBytes);
  });
}
