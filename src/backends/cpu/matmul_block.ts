import { i32 } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { copyWords, packTransposed } from "./blocks.ts";
import {
  accumulate,
  addTile,
  clearTile,
  newTile,
  TILE_COLUMNS,
  TILE_ROWS,
  TILE_VECTORS,
  WORD,
} from "./tile.ts";

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

/** The blocking of a product. A task computes one block of C over one split of K, slice by slice. */
export interface Blocking {
  /** Rows and columns of a block of C. */
  readonly rows: number;
  readonly columns: number;
  readonly rowBlocks: number;
  readonly columnBlocks: number;
  /** Parts of K that are summed separately, and the extent of one. */
  readonly splits: number;
  readonly split: number;
  /** Products per slice, which is then added to the block, and every number that occurs. */
  readonly depth: number;
  readonly depths: readonly number[];
  /** Bytes of the block, of a panel of B, of all panels, and of the copied slice of a transposed A. */
  readonly blockBytes: number;
  readonly panelBytes: number;
  readonly panelsBytes: number;
  readonly sliceBytes: number;
}

/** A block of C while it is computed. */
export interface BlockArea {
  readonly product: MatrixProduct;
  readonly cut: Blocking;
  /** The block, row-major; the contents of its rows and columns beyond the matrix are undefined. */
  readonly block: Local<"i32">;
  /** The slice of B as panels `[depth][8]`. */
  readonly panels: Local<"i32">;
  /** Its first row and column within the matrix, and the number of both. */
  readonly row: Local<"i32">;
  readonly column: Local<"i32">;
  readonly rowCount: Local<"i32">;
  readonly columnCount: Local<"i32">;
}

/** Sets the block to zero. */
export function clearBlock(f: FunctionBuilder, { block, cut }: BlockArea): void {
  const p = f.int(0);
  f.for(p, block, i32.add(block, cut.blockBytes), 16, () => f.do(v128.store(p, f32x4.constant(0))));
}

/** Writes the block to C. */
export function storeBlock(f: FunctionBuilder, area: BlockArea, c: Local<"i32">): void {
  const { product: { n }, cut, block, row, column, rowCount, columnCount } = area;
  const from = f.int(block);
  const to = f.int(i32.add(c, i32.mul(i32.add(i32.mul(row, n), column), WORD)));
  const i = f.int(0);
  f.for(i, 0, rowCount, 1, () => {
    copyWords(f, from, to, columnCount);
    f.increment(from, cut.columns * WORD);
    f.increment(to, n * WORD);
  });
}

/** Copies `taken` rows of B's slice, from `position` on, into panels. */
export function packPanels(
  f: FunctionBuilder,
  { product: { n, k, transposeB }, cut, panels, column, columnCount }: BlockArea,
  b: Local<"i32">,
  position: Local<"i32">,
  taken: Local<"i32">,
): void {
  const [j, source, target] = [0, 0, 0].map((value) => f.int(value));
  const panel = f.int(panels);
  f.for(j, 0, columnCount, TILE_COLUMNS, () => {
    const width = f.int(i32.min(i32.sub(columnCount, j), TILE_COLUMNS));
    const first = i32.add(column, j);
    if (transposeB) {
      f.set(source, i32.add(b, i32.mul(i32.add(i32.mul(first, k), position), WORD)));
      packTransposed(f, source, k, panel, taken, width);
    } else {
      f.set(source, i32.add(b, i32.mul(i32.add(i32.mul(position, n), first), WORD)));
      f.set(target, panel);
      const end = f.int(i32.add(panel, i32.mul(taken, TILE_COLUMNS * WORD)));
      const rows = (copy: () => void) =>
        f.while(i32.ltU(target, end), () => {
          copy();
          f.increment(source, n * WORD);
          f.increment(target, TILE_COLUMNS * WORD);
        });
      f.if(
        i32.eq(width, TILE_COLUMNS),
        () => rows(() => [0, 16].forEach((at) => f.do(v128.store(target, v128.load(source, at), at)))),
        () => rows(() => copyWords(f, source, target, width)),
      );
    }
    f.increment(panel, cut.panelBytes);
  });
}

/**
 * Copies a slice of a transposed A to `[taken][rows]`. In place its elements are a whole row of the matrix apart, which
 * for extents that are powers of two maps all of them to the same few cache lines.
 */
export function copyTransposed(
  f: FunctionBuilder,
  { product: { m }, cut, row, rowCount }: BlockArea,
  a: Local<"i32">,
  position: Local<"i32">,
  taken: Local<"i32">,
  slice: Local<"i32">,
): void {
  const from = f.int(i32.add(a, i32.mul(i32.add(i32.mul(position, m), row), WORD)));
  const to = f.int(slice);
  const i = f.int(0);
  f.for(i, 0, taken, 1, () => {
    copyWords(f, from, to, rowCount);
    f.increment(from, m * WORD);
    f.increment(to, cut.rows * WORD);
  });
}

/** Adds the products of `depth` columns of A's slice and the panels of B to the block. */
export function multiplyBlock(f: FunctionBuilder, area: BlockArea, slice: Local<"i32">, depth: number): void {
  const { product: { m, k, transposeA }, cut, block, panels, rowCount, columnCount } = area;
  const [rowPitch, step] = transposeA ? [WORD, cut.rows * WORD] : [k * WORD, WORD];
  const tilePitch = cut.columns * WORD;
  const panel = f.int(panels);
  const [i, j, a, b, at] = [0, 0, 0, 0, 0].map((value) => f.int(value));
  const multiply = (height: number) => {
    const tile = newTile(f, height, TILE_VECTORS);
    clearTile(f, tile); // each slice is summed by itself, so that the terms of a deep product are not added one by one
    f.set(a, i32.add(slice, i32.mul(i, rowPitch)));
    f.set(b, panel);
    accumulate(f, tile, {
      a,
      aRows: tile.map((_, r) => r * rowPitch),
      aStep: step,
      b,
      bStep: TILE_COLUMNS * WORD,
      count: depth,
    });
    f.set(at, i32.add(block, i32.add(i32.mul(i, tilePitch), i32.mul(j, WORD))));
    addTile(f, tile, at, tilePitch);
  };
  // The number of rows left over at the bottom of the matrix is the same in every block there.
  const rest = m % TILE_ROWS;
  f.for(j, 0, columnCount, TILE_COLUMNS, () => {
    f.for(i, 0, rowCount, TILE_ROWS, () => {
      if (rest === 0) multiply(TILE_ROWS);
      else if (m < TILE_ROWS) multiply(rest);
      else f.if(i32.leS(i32.add(i, TILE_ROWS), rowCount), () => multiply(TILE_ROWS), () => multiply(rest));
    });
    f.increment(panel, cut.panelBytes);
  });
}
