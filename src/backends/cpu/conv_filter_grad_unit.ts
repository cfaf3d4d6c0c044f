import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { i32, int } from "./wasm/scalars.ts";
import type { FilterGradCut } from "./conv_filter_grad_cut.ts";
import type { Correlation } from "./conv_geometry.ts";
import { LongTile } from "./long_tile.ts";
import { addTile, LANES, TILE_COLUMNS, TILE_ROWS, TILE_VECTORS, WORD } from "./tile.ts";

/** The most filter elements of a row of taps that are unrolled if they are not contiguous in the image. */
const SHORT_ROW = 48;

/** Addresses and extents of one unit. */
export interface Unit {
  /** The image pixel under the first tap of the unit's first dy pixel. */
  readonly pixels: Local<"i32">;
  /** The unit's first dy pixel. */
  readonly gradient: Local<"i32">;
  /** Rows of dy. */
  readonly rows: Local<"i32">;
  /** The partial gradient. */
  readonly partial: Local<"i32">;
  /** The blocks of output channels to compute. */
  readonly firstBlock: Local<"i32">;
  readonly endBlock: Local<"i32">;
}

/** Adds a unit's products to a partial gradient, one register tile of filter elements × output channels at a time. */
export function addUnit(f: FunctionBuilder, correlation: Correlation, plan: FilterGradCut, unit: Unit): void {
  new UnitWriter(f, correlation, plan, unit).write();
}

/** Writes the loops of one unit: over groups, blocks of output channels, taps, and tiles of a tap's channels. */
class UnitWriter {
  readonly #f: FunctionBuilder;
  readonly #unit: Unit;
  readonly #plan: FilterGradCut;
  readonly #correlation: Correlation;
  /** Bytes of an image pixel and of a row of them. */
  readonly #pixel: number;
  readonly #pitch: number;
  /** Loop counters. */
  readonly #counters: { readonly [name in "group" | "block" | "r" | "s" | "j" | "i"]: Local<"i32"> };
  /** The image element and the dy element that a tile starts with. */
  readonly #a: Local<"i32">;
  readonly #b: Local<"i32">;
  /** The same in the current row of dy. */
  readonly #rowA: Local<"i32">;
  readonly #rowB: Local<"i32">;
  /** The tile's place in the partial gradient. */
  readonly #sum: Local<"i32">;

  constructor(f: FunctionBuilder, correlation: Correlation, plan: FilterGradCut, unit: Unit) {
    const { source } = correlation;
    this.#f = f;
    this.#unit = unit;
    this.#plan = plan;
    this.#correlation = correlation;
    this.#pixel = (plan.copied ? plan.region.channels : source[2]) * WORD;
    this.#pitch = (plan.copied ? plan.region.columns : source[1]) * this.#pixel;
    const zero = () => f.int(0);
    this.#counters = { group: zero(), block: zero(), r: zero(), s: zero(), j: zero(), i: zero() };
    [this.#a, this.#b, this.#rowA, this.#rowB, this.#sum] = [zero(), zero(), zero(), zero(), zero()];
  }

  /** Writes the loops. */
  write(): void {
    const f = this.#f;
    const { groups, target } = this.#correlation;
    const { taskGroups, blocks, depth } = this.#plan;
    const { group, block } = this.#counters;
    const groupColumns = target[2] / groups;
    const last = (groupColumns - 1) % TILE_COLUMNS + 1;
    f.for(group, 0, taskGroups, 1, () => {
      f.for(block, this.#unit.firstBlock, this.#unit.endBlock, 1, () => {
        const panel = i32.add(i32.mul(group, blocks), block);
        f.set(this.#sum, i32.add(this.#unit.partial, i32.mul(panel, depth * TILE_COLUMNS * WORD)));
        const firstColumn = i32.add(i32.mul(group, groupColumns), i32.mul(block, TILE_COLUMNS));
        f.set(this.#b, i32.add(this.#unit.gradient, i32.mul(firstColumn, WORD)));
        const isLast = blocks === 1 ? int(1) : i32.eq(block, blocks - 1);
        if (last > LANES) this.#block(TILE_COLUMNS);
        else f.if(isLast, () => this.#block(last), () => this.#block(TILE_COLUMNS));
      });
    });
  }

  /** All filter elements of one block of `columns` output channels. */
  #block(columns: number): void {
    const f = this.#f;
    const { groups, source, phases: [{ row, column }] } = this.#correlation;
    const { group, r } = this.#counters;
    const groupChannels = source[2] / groups;
    // The channels of neighbouring taps are contiguous in a row of the image: one run of filter elements.
    const merged = column.taps === 1 || (groups === 1 && column.tapStep === 1);
    const run = merged ? column.taps * groupChannels : groupChannels;
    const runs = merged ? 1 : column.taps;
    const rows = columns > LANES ? TILE_ROWS : TILE_ROWS * TILE_VECTORS;
    f.for(r, 0, row.taps, 1, () => {
      const start = i32.add(this.#unit.pixels, i32.mul(r, row.tapStep * this.#pitch));
      f.set(this.#a, i32.add(start, i32.mul(group, groupChannels * WORD)));
      if (!merged && runs * run <= SHORT_ROW) {
        const tap = (s: number) => wordsUpTo(run).map((offset) => s * column.tapStep * this.#pixel + offset);
        const offsets = Array.from({ length: runs }, (_, s) => tap(s)).flat();
        for (let e = 0; e < offsets.length; e += rows) this.#tile(offsets.slice(e, e + rows), columns);
      } else {
        this.#runs(runs, run, rows, columns);
      }
    });
  }

  /** `runs` runs of `run` contiguous filter elements, one tap apart, in tiles of `rows` elements. */
  #runs(runs: number, run: number, rows: number, columns: number): void {
    const f = this.#f;
    const { phases: [{ column }] } = this.#correlation;
    const { s, j } = this.#counters;
    const whole = Math.floor(run / rows);
    f.for(s, 0, runs, 1, () => {
      f.for(j, 0, whole, 1, () => {
        this.#tile(wordsUpTo(rows), columns);
        f.increment(this.#a, rows * WORD);
      });
      if (run % rows > 0) this.#tile(wordsUpTo(run % rows), columns);
      f.increment(this.#a, column.tapStep * this.#pixel - whole * rows * WORD);
    });
  }

  /** One tile: the filter elements whose image elements are `offsets` bytes after the current one. */
  #tile(offsets: readonly number[], columns: number): void {
    const f = this.#f;
    const { target, phases: [{ row, column }] } = this.#correlation;
    // Each unit is summed by itself, so that the terms of many units are not added one by one.
    const terms = this.#plan.bandRows * column.count;
    const products = new LongTile(f, offsets.length, Math.ceil(columns / LANES), terms);
    f.set(this.#rowA, this.#a);
    f.set(this.#rowB, this.#b);
    const [a, b] = [f.int(0), f.int(0)];
    f.for(this.#counters.i, 0, this.#unit.rows, 1, () => {
      f.set(a, this.#rowA);
      f.set(b, this.#rowB);
      products.accumulate({
        a,
        aRows: offsets,
        aStep: column.sourceStep * this.#pixel,
        b,
        bStep: target[2] * WORD,
        count: column.count,
      });
      f.increment(this.#rowA, row.sourceStep * this.#pitch);
      f.increment(this.#rowB, target[1] * target[2] * WORD);
    });
    products.finish();
    addTile(f, products.tile, this.#sum, TILE_COLUMNS * WORD);
    f.increment(this.#sum, offsets.length * TILE_COLUMNS * WORD);
  }
}

/** Byte offsets of the first `count` words. */
function wordsUpTo(count: number): number[] {
  return Array.from({ length: count }, (_, word) => word * WORD);
}
