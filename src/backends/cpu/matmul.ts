import { i32, int } from "./wasm/scalars.ts";
import type { Local } from "./wasm/function.ts";
import {
  type Blocking,
  clearBlock,
  copyTransposed,
  type MatrixProduct,
  multiplyBlock,
  packPanels,
  storeBlock,
} from "./matmul_block.ts";
import type { Launch, Launches, Operand, Routine } from "./routine.ts";
import { sumChunks } from "./sum_chunks.ts";
import { TILE_COLUMNS, TILE_ROWS, WORD } from "./tile.ts";

/** Rows of a block of C, which share a packed panel of B. */
const BLOCK_ROWS = 96;
/** Columns of a block of C. */
const BLOCK_COLUMNS = 128;
/** The depth of a panel of B: at 8 KiB it stays in the first-level cache. */
const DEPTH = 256;
/** Enough tasks for a few dozen threads; if C has fewer blocks, K is split. */
const ENOUGH_TASKS = 16;
/** The least extent of a split of K. */
const LEAST_SPLIT = 512;

/** Near-equal blocks of at most `most`, each but the last a multiple of `unit`. */
function blockSize(extent: number, most: number, unit: number): number {
  const blocks = Math.ceil(extent / most);
  return Math.ceil(extent / blocks / unit) * unit;
}

function blocking({ batch, m, n, k, transposeA }: MatrixProduct): Blocking {
  const rows = blockSize(m, BLOCK_ROWS, TILE_ROWS);
  const columns = blockSize(n, BLOCK_COLUMNS, TILE_COLUMNS);
  const [rowBlocks, columnBlocks] = [Math.ceil(m / rows), Math.ceil(n / columns)];
  const blocks = batch * rowBlocks * columnBlocks;
  const wanted = blocks >= ENOUGH_TASKS ? 1 : Math.ceil(ENOUGH_TASKS / blocks);
  const splits = Math.max(1, Math.min(wanted, Math.floor(k / LEAST_SPLIT)));
  const split = Math.ceil(k / splits);
  const depth = Math.max(1, Math.ceil(split / Math.max(1, Math.ceil(split / DEPTH))));
  const depths = new Set<number>();
  for (const extent of [split, k - (splits - 1) * split]) {
    if (extent >= depth) depths.add(depth);
    if (extent % depth > 0) depths.add(extent % depth);
  }
  const panelBytes = depth * TILE_COLUMNS * WORD;
  return {
    rows,
    columns,
    rowBlocks,
    columnBlocks,
    splits,
    split,
    depth,
    depths: [...depths],
    blockBytes: rows * columns * WORD,
    panelBytes,
    panelsBytes: panelBytes * columns / TILE_COLUMNS,
    sliceBytes: transposeA ? depth * rows * WORD : 0,
  };
}

/** `a · b → c`, all f32 and row-major. */
export function matmul(product: MatrixProduct, a: Operand, b: Operand, c: Operand): Launches {
  const size = product.batch * product.m * product.n;
  if (size === 0) return { launches: [], workspace: 0 };
  const cut = blocking(product);
  const target: Operand = cut.splits > 1 ? { workspace: 0 } : c;
  const launches: Launch[] = [{ routine: productRoutine(product, cut), operands: [a, b, target] }];
  if (cut.splits === 1) return { launches, workspace: 0 };
  launches.push(sumChunks(cut.splits, size, target, c));
  return { launches, workspace: cut.splits * size * WORD };
}

function productRoutine(product: MatrixProduct, cut: Blocking): Routine {
  const { batch, m, n, k, transposeA, transposeB } = product;
  const { rows, columns, rowBlocks, columnBlocks, splits, split, depth } = cut;
  return {
    key: `product ${m}×${k}${transposeA ? "ᵀ" : ""} · ${k}×${n}${transposeB ? "ᵀ" : ""}, batch ${batch}`,
    tasks: splits * batch * rowBlocks * columnBlocks,
    operands: 3,
    scratch: cut.blockBytes + cut.panelsBytes + cut.sliceBytes,
    build({ f, operands: [a, b, c], task, scratch }) {
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
      f.increment(c, i32.mul(remaining, m * n * WORD)); // partial products are laid out split by split
      const position = f.int(i32.mul(i32.divU(remaining, batch), split));
      const end = f.int(i32.min(i32.add(position, split), k));
      const panels = f.int(i32.add(scratch, cut.blockBytes));
      const slice = f.int(i32.add(panels, cut.panelsBytes));
      const area = {
        product,
        cut,
        block: scratch,
        panels,
        row,
        column,
        rowCount: f.int(i32.min(i32.sub(m, row), rows)),
        columnCount: f.int(i32.min(i32.sub(n, column), columns)),
      };
      clearBlock(f, area);
      f.while(i32.ltS(position, end), () => {
        const taken = f.int(i32.min(i32.sub(end, position), depth));
        packPanels(f, area, b, position, taken);
        if (transposeA) copyTransposed(f, area, a, position, taken, slice);
        else f.set(slice, i32.add(a, i32.mul(i32.add(i32.mul(row, k), position), WORD)));
        for (const known of cut.depths) {
          const occurs = cut.depths.length === 1 ? int(1) : i32.eq(taken, known);
          f.if(occurs, () => multiplyBlock(f, area, slice, known));
        }
        f.increment(position, depth);
      });
      storeBlock(f, area, c);
    },
  };
}
