import type { I32, V128 } from "./wasm/expressions.ts";
import { i32 } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";

/** Lanes of a vector. */
export const LANES = 4;
/** Bytes of an f32. */
export const WORD = 4;
/** Bytes of a bf16. */
export const HALF = 2;

/**
 * Rows of the register tile of every product: `rows` × `vectors` accumulators of four lanes. There are sixteen vector
 * registers, one reserved by V8. The others hold 6 × 2 accumulators, the two vectors of B and one broadcast element of A:
 * 12 independent chains of fused multiply-adds; 8 already cover their latency.
 */
export const TILE_ROWS = 6;
/** Vectors of a full tile. */
export const TILE_VECTORS = 2;
/** Columns of a full tile. */
export const TILE_COLUMNS = TILE_VECTORS * LANES;

/**
 * Relative cost of a tile by its number of pixels, for 1 or 2 vectors. Narrow tiles do not cover the latency of a
 * multiply-add; with one vector more pixels fit the registers, but each product needs its own load.
 */
const TILE_COSTS: { readonly [vectors: number]: readonly number[] } = {
  1: [0, 7, 7, 7.1, 7.2, 7.4, 7.6, 7.8, 8],
  2: [0, 7, 7.5, 8.2, 9.1, 10.3, 12],
};

/** Divides a row of `count` pixels into tiles of `vectors` vectors, wide ones first, at the least cost. */
export function divideRow(count: number, vectors: number): { pixels: number; times: number }[] {
  const costs = TILE_COSTS[vectors];
  const best: { cost: number; pixels: number }[] = [{ cost: 0, pixels: 0 }];
  for (let n = 1; n <= count; n++) {
    best.push({ cost: Infinity, pixels: 0 });
    for (let pixels = 1; pixels <= Math.min(n, costs.length - 1); pixels++) {
      const cost = best[n - pixels].cost + costs[pixels];
      if (cost < best[n].cost) best[n] = { cost, pixels };
    }
  }
  const times = new Map<number, number>();
  for (let n = count; n > 0; n -= best[n].pixels) {
    times.set(best[n].pixels, (times.get(best[n].pixels) ?? 0) + 1);
  }
  return [...times].sort(([a], [b]) => b - a).map(([pixels, t]) => ({ pixels, times: t }));
}

/** Accumulators of a tile, `[row][vector]`. */
export type Tile = readonly (readonly Local<"v128">[])[];

/** Declares the accumulators of a tile. */
export function newTile(f: FunctionBuilder, rows: number, vectors: number): Tile {
  return Array.from({ length: rows }, () => Array.from({ length: vectors }, () => f.local("v128")));
}

/** Sets a tile to zero. */
export function clearTile(f: FunctionBuilder, tile: Tile): void {
  for (const row of tile) for (const accumulator of row) f.set(accumulator, f32x4.constant(0));
}

/** Adds a tile to memory, its rows `pitch` bytes apart. */
export function addTile(f: FunctionBuilder, tile: Tile, address: I32, pitch: number): void {
  for (const [r, row] of tile.entries()) {
    for (const [v, x] of row.entries()) {
      const offset = r * pitch + v * 16;
      f.do(v128.store(address, f32x4.add(v128.load(address, offset), x), offset));
    }
  }
}

/** Operands of {@link accumulate}. */
export interface TileOperands {
  /** Address of A's element for row 0; advanced past the products. */
  readonly a: Local<"i32">;
  /** Bytes from the A element of row 0 to that of each row. */
  readonly aRows: readonly number[];
  /** Bytes between successive elements of A. */
  readonly aStep: number;
  /** Address of B's vectors; advanced likewise. */
  readonly b: Local<"i32">;
  /** Bytes between successive vectors of B. */
  readonly bStep: number;
  /** Products per row. */
  readonly count: number;
}

/** `tile[row] += Σ a[row][i] · b[i]`: the inner loop of matrix products and convolutions. */
export function accumulate(f: FunctionBuilder, tile: Tile, operands: TileOperands): void {
  const { a, aRows, aStep, b, bStep, count } = operands;
  const vectors = tile[0].length;
  const bVectors = tile[0].map(() => f.local("v128"));
  const element = f.local("v128");
  const product = (i: number) => {
    for (let v = 0; v < vectors; v++) f.set(bVectors[v], v128.load(b, i * bStep + v * 16));
    for (const [row, accumulators] of tile.entries()) {
      f.set(element, v128.load32Splat(a, aRows[row] + i * aStep));
      for (let v = 0; v < vectors; v++) {
        f.set(accumulators[v], f32x4.madd(element, bVectors[v], accumulators[v]));
      }
    }
  };
  // Unrolled to amortise the loop's own instructions and V8's stack check over several products.
  const unroll = count <= 12 ? count : [8, 6, 7, 5, 4].find((u) => count % u === 0) ?? 8;
  const advance = (products: number) => {
    f.increment(a, products * aStep);
    f.increment(b, products * bStep);
  };
  if (count >= unroll && unroll > 0) {
    const end = f.int(i32.add(a, Math.floor(count / unroll) * unroll * aStep));
    const body = () => {
      for (let i = 0; i < unroll; i++) product(i);
      advance(unroll);
    };
    if (count < 2 * unroll) body();
    else {
      f.loop((again) => {
        body();
        f.branch(again, i32.ne(a, end));
      });
    }
  }
  const rest = unroll > 0 ? count % unroll : 0;
  for (let i = 0; i < rest; i++) product(i);
  advance(rest);
}

/** Stores the first `columns` lanes of a run of vectors. */
export function storeColumns(
  f: FunctionBuilder,
  address: Local<"i32">,
  offset: number,
  vectors: readonly V128[],
  columns: number,
): void {
  for (const [v, vector] of vectors.entries()) {
    const lanes = Math.min(LANES, columns - v * LANES);
    const at = offset + v * 16;
    if (lanes === LANES) f.do(v128.store(address, vector, at));
    else {
      if (lanes >= 2) f.do(v128.store64Lane(address, vector, 0, at));
      if (lanes % 2 === 1) f.do(v128.store32Lane(address, vector, lanes - 1, at + (lanes - 1) * WORD));
    }
  }
}
