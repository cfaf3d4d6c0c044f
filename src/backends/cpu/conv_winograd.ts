import type { I32, Int, V128 } from "./wasm/expressions.ts";
import { i32 } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import type { Correlation } from "./conv_geometry.ts";
import { copyRegion, type Region } from "./conv_region.ts";
import { LANES, TILE_COLUMNS, WORD } from "./tile.ts";

/**
 * Winograd's minimal filtering of 3 × 3 taps (Lavin & Gray, CVPR 2016, arXiv 1509.09308): a tile of 4 × 4 source pixels and
 * the filter are transformed to 16 positions each, multiplied position by position and summed over channels; the sums are
 * transformed to four target pixels: 16 products instead of 36. Each transform is a small matrix applied to the rows and
 * to the columns of a tile; all of them use the points 0, 1, −1 and ∞.
 */
export const POSITIONS = 16;

/** A transform of a line of values. */
type Transform = (f: FunctionBuilder, line: readonly Local<"v128">[]) => V128[];

const { add, sub, mul } = f32x4;
const half = (f: FunctionBuilder, x: V128): V128 => mul(x, f.constant(f32x4.constant(0.5)));

/** The transform of source pixels: Bᵀ of the paper. */
export const sourceTransform: Transform = (_, [a, b, c, d]) => [sub(a, c), add(b, c), sub(c, b), sub(b, d)];

/** The transform of taps: G of F(2 × 2, 3 × 3). */
export const filterTransform: Transform = (f, [a, b, c]) => {
  const ends = f.local("v128", add(a, c));
  return [a, half(f, add(ends, b)), half(f, sub(ends, b)), c];
};

/** The transform of sums to target pixels: Aᵀ of F(2 × 2, 3 × 3). */
export const targetTransform: Transform = (_, [a, b, c, d]) => [add(a, add(b, c)), sub(sub(b, c), d)];

/**
 * The transform of the target's gradient: G of F(3 × 3, 2 × 2) with its middle rows doubled, for which
 * {@link tapTransform} compensates.
 */
export const gradientTransform: Transform = (_, [a, b]) => [a, add(a, b), sub(a, b), b];

/** The transform of sums to the taps' gradient: Aᵀ of F(3 × 3, 2 × 2), its middle columns halved. */
export const tapTransform: Transform = (f, [a, b, c, d]) => {
  const middle = f.local("v128", half(f, add(b, c)));
  return [add(a, middle), half(f, sub(b, c)), sub(middle, d)];
};

/** Applies a transform to the columns and then to the rows of a grid. Each result may be read only once. */
export function transformGrid(
  f: FunctionBuilder,
  grid: readonly (readonly V128[])[],
  transform: Transform,
): V128[][] {
  const columns = grid[0].map((_, j) =>
    transform(f, grid.map((row) => f.local("v128", row[j]))).map((x) => f.local("v128", x))
  );
  return columns[0].map((_, i) => transform(f, columns.map((column) => column[i])));
}

/** Loads a square grid of vectors, `pitch` bytes from row to row and `step` from column to column. */
export function loadGrid(at: Local<"i32">, size: number, pitch: number, step: number): V128[][] {
  return Array.from(
    { length: size },
    (_, i) => Array.from({ length: size }, (_, j) => v128.load(at, i * pitch + j * step)),
  );
}

/** The division of a target into units of 2 × 2 tiles: bands of one image, or several small images together. */
export interface Tiling {
  /** Rows and columns of tiles of an image. */
  readonly rows: number;
  readonly columns: number;
  /** Rows of tiles of a band. */
  readonly bandRows: number;
  readonly bands: number;
  /** Images of a unit; 1 if an image has several bands. */
  readonly together: number;
  readonly units: number;
  /** Tiles of a band, and of a unit. */
  readonly bandTiles: number;
  readonly tiles: number;
  /** Source pixels of a band. */
  readonly region: Region;
}

/** Enough tiles of a unit to amortise fetching a panel of the filter. */
const MOST_TILES = 64;
/** With fewer tiles than this, register tiles are not full. */
const LEAST_TILES = 16;
/** Transformed tiles should fit the second-level cache together with the filter's panels. */
const UNIT_BYTES = 384 * 1024;
/** Enough units for a few dozen threads. */
const ENOUGH_UNITS = 16;

/**
 * Tests whether minimal filtering is faster for a correlation and its filter gradient. It requires 3 × 3 contiguous
 * taps, channels that fill panels, tiles that are mostly within the target, and enough tiles to amortise the filter's
 * transform. Taps that only meet padding are left to the direct method, which gives them a gradient of exactly zero.
 */
export function winogradPays({ images, groups, source, target, phases }: Correlation): boolean {
  const axes = [phases[0].row, phases[0].column];
  const plain = groups === 1 && phases.length === 1 &&
    axes.every(({ taps, tapStep, sourceStep }) => taps === 3 && tapStep === 1 && sourceStep === 1);
  const whole = source[2] > 0 && source[2] % TILE_COLUMNS === 0 && target[2] % TILE_COLUMNS === 0;
  const met = axes.every(({ sourceStart, count }, a) =>
    sourceStart + count > 0 && sourceStart + 2 < source[a]
  );
  const tiles = images * Math.ceil(axes[0].count / 2) * Math.ceil(axes[1].count / 2);
  const pixels = images * axes[0].count * axes[1].count;
  return plain && whole && met && tiles >= LEAST_TILES && 4 * tiles <= 1.5 * pixels;
}

/** Cuts a correlation into units of at most `mostTiles` tiles. */
export function cutTiles(
  { images, source, phases: [{ row, column }] }: Correlation,
  mostTiles: number = MOST_TILES,
): Tiling {
  const [rows, columns] = [Math.ceil(row.count / 2), Math.ceil(column.count / 2)];
  const affordable = Math.floor(UNIT_BYTES / (POSITIONS * source[2] * WORD));
  const most = Math.max(LEAST_TILES, Math.min(mostTiles, affordable));
  const bands = Math.ceil(rows / Math.max(1, Math.floor(most / columns)));
  const bandRows = Math.ceil(rows / bands);
  const bandTiles = bandRows * columns;
  const together = bands > 1
    ? 1
    : Math.max(1, Math.min(Math.floor(most / bandTiles), Math.floor(images / ENOUGH_UNITS)));
  return {
    rows,
    columns,
    bandRows,
    bands: Math.ceil(rows / bandRows),
    together,
    units: Math.ceil(images / together) * Math.ceil(rows / bandRows),
    bandTiles,
    tiles: together * bandTiles,
    region: {
      image: source,
      channels: source[2],
      rows: 2 * bandRows + 2,
      firstColumn: column.sourceStart,
      columns: 2 * columns + 2,
    },
  };
}

/** The place of a unit. */
export interface UnitPlace {
  readonly firstImage: Local<"i32">;
  readonly images: Local<"i32">;
  /** Its first row of tiles, and its number of rows of tiles in each image. */
  readonly firstRow: Local<"i32">;
  readonly rows: Local<"i32">;
}

/** Writes code that locates a unit; the last one of an image, or of all images, may be smaller. */
export function placeUnit(
  f: FunctionBuilder,
  { rows, bandRows, bands, together }: Tiling,
  images: number,
  unit: Local<"i32">,
): UnitPlace {
  const firstImage = f.int(i32.mul(i32.divU(unit, bands), together));
  const firstRow = f.int(i32.mul(i32.remU(unit, bands), bandRows));
  return {
    firstImage,
    images: f.int(i32.min(i32.sub(images, firstImage), together)),
    firstRow,
    rows: f.int(i32.min(i32.sub(rows, firstRow), bandRows)),
  };
}

/** Bytes from a position's `[tiles][channels]` to the next: not a power of two, which would map all to one cache set. */
export function positionBytes(tiles: number, channels: number): number {
  return Math.ceil(tiles * channels * WORD / 64) * 64 + 64;
}

/**
 * The layout of transformed filters and gradients: `[group][position][channels][width]` of a group of as many target
 * channels.
 */
export class Panels {
  /** Bytes from a source channel to the next, from a position to the next, and from a group to the next. */
  readonly channel: number;
  readonly position: number;
  readonly group: number;
  /** Bytes of all groups. */
  readonly bytes: number;

  /** The layout for a correlation with groups of `width` target channels, a multiple of eight. */
  constructor({ source, target }: Correlation, readonly width: number = TILE_COLUMNS) {
    this.channel = width * WORD;
    this.position = source[2] * this.channel;
    this.group = POSITIONS * this.position;
    this.bytes = target[2] / width * this.group;
  }

  /** The offset of a block of eight target channels. */
  block(block: I32): I32 {
    const side = this.width / TILE_COLUMNS;
    if (side === 1) return i32.mul(block, this.group);
    return i32.add(
      i32.mul(i32.divU(block, side), this.group),
      i32.mul(i32.remU(block, side), TILE_COLUMNS * WORD),
    );
  }
}

/** Tiles of one image, and their transform. */
export interface TileArea {
  /** The part of the image that they cover. */
  readonly region: Region;
  /** Its copy. */
  readonly buffer: Local<"i32">;
  readonly rows: Int;
  readonly columns: number;
  /** Width of a tile in pixels, and the transform applied to it. */
  readonly size: number;
  readonly transform: Transform;
  /** Bytes from a position's tiles to the next. */
  readonly position: number;
}

/**
 * Transforms tiles, which are two pixels apart and start at an image's row `firstRow`, to `[position][tile][channels]` at
 * `to`, which is advanced past them.
 */
export function transformTiles(
  f: FunctionBuilder,
  { region, buffer, rows, columns, size, transform, position }: TileArea,
  image: I32,
  firstRow: Local<"i32">,
  to: Local<"i32">,
): void {
  copyRegion(f, region, image, firstRow, buffer);
  const pixel = region.channels * WORD;
  const pitch = region.columns * pixel;
  const [row, column, vector] = [0, 0, 0].map((value) => f.int(value));
  const from = f.int(buffer);
  f.for(row, 0, rows, 1, () => {
    f.for(column, 0, columns, 1, () => {
      f.for(vector, 0, region.channels / LANES, 1, () => {
        transformGrid(f, loadGrid(from, size, pitch, pixel), transform).flat()
          .forEach((x, p) => f.do(v128.store(to, x, p * position)));
        f.increment(from, LANES * WORD);
        f.increment(to, LANES * WORD);
      });
      f.increment(from, pixel);
    });
    f.increment(from, 2 * pitch - 2 * columns * pixel);
  });
}
