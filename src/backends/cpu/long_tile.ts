import { i32, int } from "./wasm/scalars.ts";
import { f32x4 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { FAN } from "./long_sum.ts";
import { accumulate, clearTile, newTile, type Tile, type TileOperands } from "./tile.ts";

/** The most products added one by one; their sums are added to sums of the next level, so that errors do not grow with the length. */
export const SLICE = 256;

/** A register tile for sums of many products; up to {@link SLICE} products it is the same as {@link accumulate}. */
export class LongTile {
  readonly #f: FunctionBuilder;
  /** The tile that products are added to, the one that this is carried to, and so on. */
  readonly #levels: readonly Tile[];
  /** Products since the last carry, and the number of carries. */
  readonly #added: Local<"i32">;
  readonly #times: Local<"i32">;

  /** Writes code that sets the tile to 0. `most` is the most products of a row. */
  constructor(f: FunctionBuilder, rows: number, vectors: number, most: number) {
    const above = most <= SLICE ? 0 : most <= FAN * SLICE / 2 ? 1 : most <= FAN ** 2 * SLICE / 2 ? 2 : 3;
    this.#f = f;
    this.#levels = Array.from({ length: 1 + above }, () => newTile(f, rows, vectors));
    for (const tile of this.#levels) clearTile(f, tile);
    [this.#added, this.#times] = [f.int(0), f.int(0)];
  }

  /** The accumulators. */
  get tile(): Tile {
    return this.#levels[0];
  }

  /** Adds products, as {@link accumulate}. */
  accumulate(operands: TileOperands): void {
    const f = this.#f;
    if (this.#levels.length === 1) return accumulate(f, this.tile, operands);
    const { count } = operands;
    const size = Math.ceil(count / Math.ceil(count / SLICE));
    const slice = (count: number): void => {
      accumulate(f, this.tile, { ...operands, count });
      f.increment(this.#added, count);
      f.if(i32.geU(this.#added, SLICE / 2), () => {
        f.set(this.#added, int(0));
        f.increment(this.#times, 1);
        this.#carry(1);
      });
    };
    f.for(f.int(0), 0, Math.floor(count / size), 1, () => slice(size));
    if (count % size > 0) slice(count % size);
  }

  #carry(level: number): void {
    this.#move(level);
    if (level + 1 === this.#levels.length) return;
    this.#f.if(i32.eqz(i32.and(this.#times, FAN ** level - 1)), () => this.#carry(level + 1));
  }

  /** Adds a level to another, and clears the first. */
  #move(to: number, from: number = to - 1): void {
    const target = this.#levels[to].flat();
    this.#levels[from].flat().forEach((sum, i) => this.#f.set(target[i], f32x4.add(target[i], sum)));
    clearTile(this.#f, this.#levels[from]);
  }

  /** Adds all levels to {@link tile}. */
  finish(): void {
    for (let level = 1; level < this.#levels.length; level++) this.#move(0, level);
  }
}
