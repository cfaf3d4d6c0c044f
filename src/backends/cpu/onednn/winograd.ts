/**
 * Winograd's minimal filtering with oneDNN's products: WebAssembly transforms tiles, and oneDNN multiplies them, all
 * positions in one call.
 *
 * @module
 */
import type { Correlation } from "../conv_geometry.ts";
import { correlationText } from "../conv_geometry.ts";
import { regionBytes } from "../conv_region.ts";
import {
  cutTiles,
  Panels,
  placeUnit,
  POSITIONS,
  sourceTransform,
  type Tiling,
  transformTiles,
} from "../conv_winograd.ts";
import { transformFilter, writeTiles } from "../conv_winograd_correlate.ts";
import type { Launches, Operand, Routine } from "../routine.ts";
import { TILE_COLUMNS, WORD } from "../tile.ts";
import { i32 } from "../wasm/scalars.ts";
import type { OnednnEngine } from "./engine.ts";
import type { Layout, Made } from "./maker.ts";

/** Tiles of a unit: products of more rows are faster, until tiles and sums leave the second-level cache. */
export const MOST_TILES = 128;
/** Target channels that are multiplied at a time, if they can be cut so, for sums that stay in the second-level cache. */
const MOST_COLUMNS = 64;
const LEAST_COLUMNS = 32;

/** Dense matrices of all positions. */
export function matrices(rows: number, columns: number): Layout {
  return { dtype: "f32", sizes: [POSITIONS, rows, columns], strides: [rows * columns, columns, 1] };
}

/**
 * The rows of a position's matrix for so many tiles: oneDNN is fastest with dense matrices, and their distance must not be
 * a power of two, which would map all positions to one cache set.
 */
export function rowsFor(tiles: number): number {
  return tiles | 1;
}

/** A correlation of 3 × 3 taps; `pack` packs its filter. Undefined where oneDNN has no product for it. */
export function winogradCorrelation(
  engine: OnednnEngine,
  correlation: Correlation,
  pack: Routine,
  source: Operand,
  filter: Operand,
  target: Operand,
): Launches | undefined {
  const { source: [, , channels], target: [, , targets] } = correlation;
  const tiling = cutTiles(correlation, MOST_TILES);
  let columns = Math.min(targets, MOST_COLUMNS);
  while (targets % columns > 0) columns -= TILE_COLUMNS;
  if (columns < LEAST_COLUMNS) columns = targets;
  const rows = rowsFor(tiling.tiles);
  const product = engine.product(
    matrices(rows, channels),
    matrices(channels, columns),
    matrices(rows, columns),
  );
  if (product === undefined) return undefined;
  const panels = new Panels(correlation, columns);
  const transformed: Operand = { workspace: 0 };
  return {
    launches: [
      { routine: transformFilter(correlation, pack, panels), operands: [filter, transformed] },
      {
        routine: correlateTiles(correlation, tiling, panels, product),
        operands: [source, transformed, target],
      },
    ],
    workspace: panels.bytes,
  };
}

/** The correlation with a transformed filter; the operands are the source, that filter and the target. */
function correlateTiles(correlation: Correlation, tiling: Tiling, panels: Panels, product: Made): Routine {
  const { images, source: [height, width, channels], target, phases: [phase] } = correlation;
  const [targetHeight, targetWidth, targets] = target;
  const sourceStart = phase?.row.sourceStart ?? 0;
  const bufferBytes = Math.ceil(regionBytes(tiling.region) / 64) * 64;
  const rows = rowsFor(tiling.tiles);
  const sourcePosition = rows * channels * WORD, targetPosition = rows * panels.width * WORD;
  const ownBytes = bufferBytes + POSITIONS * (sourcePosition + targetPosition);
  return {
    key: `oneDNN winograd ${product.implementation} #${product.id}, ${correlationText(correlation)}`,
    tasks: tiling.units,
    operands: 3,
    scratch: ownBytes + product.scratch,
    primitives: [product],
    build({ f, operands: [from, filter, to], task, scratch, execute }) {
      if (from === undefined || filter === undefined || to === undefined) {
        throw new Error("a correlation takes three operands");
      }
      const place = placeUnit(f, tiling, images, task);
      const firstSource = f.int(i32.add(i32.mul(place.firstRow, 2), sourceStart));
      const tiles = f.int(i32.add(scratch, bufferBytes));
      const sums = f.int(i32.add(tiles, POSITIONS * sourcePosition));
      f.increment(from, i32.mul(place.firstImage, height * width * channels * WORD));
      f.increment(to, i32.mul(place.firstImage, targetHeight * targetWidth * targets * WORD));
      const image = f.int(0), at = f.int(tiles), out = f.int(0);
      const panel = f.int(filter), lastPanel = f.int(i32.add(filter, panels.bytes));
      const area = {
        region: tiling.region,
        buffer: scratch,
        rows: place.rows,
        columns: tiling.columns,
        size: 4,
        transform: sourceTransform,
        position: sourcePosition,
      };
      f.for(image, 0, place.images, 1, () => {
        transformTiles(f, area, from, firstSource, at);
        f.increment(from, height * width * channels * WORD);
      });
      // The last unit may have fewer tiles: what oneDNN makes of the rest is not read.
      f.while(i32.ltU(panel, lastPanel), () => {
        execute(product, tiles, panel, sums, i32.add(scratch, ownBytes));
        f.set(out, to);
        f.increment(to, panels.channel);
        f.increment(panel, panels.group);
        f.set(at, sums);
        const sumArea = {
          correlation,
          plan: tiling,
          blocks: panels.width / TILE_COLUMNS,
          position: targetPosition,
        };
        f.for(image, 0, place.images, 1, () => {
          writeTiles(f, sumArea, place, at, out);
          f.increment(out, targetHeight * targetWidth * targets * WORD);
        });
      });
    },
  };
}
