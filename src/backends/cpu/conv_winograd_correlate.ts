import { i32, int } from "./wasm/scalars.ts";
import { v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { type Correlation, correlationText } from "./conv_geometry.ts";
import { LongTile } from "./long_tile.ts";
import { packedBytes } from "./conv_pack_filter.ts";
import type { Launches, Operand, Routine } from "./routine.ts";
import { regionBytes } from "./conv_region.ts";
import { divideRow, TILE_COLUMNS, TILE_VECTORS, WORD } from "./tile.ts";
import {
  cutTiles,
  filterTransform,
  loadGrid,
  Panels,
  placeUnit,
  positionBytes,
  POSITIONS,
  sourceTransform,
  targetTransform,
  type Tiling,
  transformGrid,
  transformTiles,
  type UnitPlace,
} from "./conv_winograd.ts";

/** Enough tasks for a few dozen threads; if there are fewer units, tasks divide the target's channels too. */
const ENOUGH_TASKS = 16;

/** Bytes from one tap or position of a transformed panel to the next. */
const panelBytes = ({ source }: Correlation): number => source[2] * TILE_COLUMNS * WORD;

/** The launches of a plain 3 × 3 correlation by minimal filtering; `pack` packs its filter. */
export function winogradCorrelate(
  correlation: Correlation,
  pack: Routine,
  source: Operand,
  filter: Operand,
  target: Operand,
): Launches {
  const transformed: Operand = { workspace: 0 };
  const panels = new Panels(correlation);
  return {
    launches: [
      { routine: transformFilter(correlation, pack, panels), operands: [filter, transformed] },
      { routine: correlateTiles(correlation), operands: [source, transformed, target] },
    ],
    workspace: panels.bytes,
  };
}

/** Packs a filter in scratch memory, one block of eight target channels per task, and transforms the panel. */
export function transformFilter(correlation: Correlation, pack: Routine, panels: Panels): Routine {
  const packed = packedBytes(correlation) / pack.tasks;
  const step = panelBytes(correlation);
  return {
    key: `winograd ${pack.key}, ${panels.width} wide`,
    tasks: pack.tasks,
    operands: 2,
    scratch: packed,
    build({ f, operands: [filter, transformed], task, scratch, execute }) {
      const own = f.int(i32.sub(scratch, i32.mul(task, packed)));
      pack.build({ f, operands: [filter, own], task, scratch, execute });
      const from = f.int(scratch);
      const to = f.int(i32.add(transformed, panels.block(task)));
      const end = f.int(i32.add(from, step));
      f.while(i32.ltU(from, end), () => {
        for (let v = 0; v < TILE_VECTORS; v++) {
          transformGrid(f, loadGrid(from, 3, 3 * step, step), filterTransform).flat()
            .forEach((x, p) => f.do(v128.store(to, x, p * panels.position + v * 16)));
          f.increment(from, 16);
        }
        f.increment(to, panels.channel);
      });
    },
  };
}

/** The correlation with a transformed filter; the operands are the source, that filter and the target. */
function correlateTiles(correlation: Correlation): Routine {
  const { images, source: [height, width, channels], target, phases: [{ row }] } = correlation;
  const plan = cutTiles(correlation);
  const { units, rows, bandRows, together, bandTiles, tiles, columns, region } = plan;
  const blocks = target[2] / TILE_COLUMNS;
  const divisions = Math.min(blocks, Math.ceil(ENOUGH_TASKS / units));
  const taskBlocks = Math.ceil(blocks / divisions);
  const taskDivisions = Math.ceil(blocks / taskBlocks);
  const sourcePosition = positionBytes(tiles, channels);
  const targetPosition = positionBytes(tiles, TILE_COLUMNS);
  const bufferBytes = Math.ceil(regionBytes(region) / 64) * 64;
  return {
    key: `winograd ${correlationText(correlation)}`,
    tasks: units * taskDivisions,
    operands: 3,
    scratch: bufferBytes + POSITIONS * (sourcePosition + targetPosition),
    build({ f, operands: [sourceAddress, filterAddress, targetAddress], task, scratch }) {
      const place = placeUnit(f, plan, images, f.int(i32.divU(task, taskDivisions)));
      const block = f.int(i32.mul(i32.remU(task, taskDivisions), taskBlocks));
      const endBlock = f.int(i32.min(i32.add(block, taskBlocks), blocks));
      // The last unit of an image, or of all images, may have fewer tiles.
      const lastTiles = images % together * bandTiles + rows % bandRows * columns;
      const isLast = f.int(i32.ltU(i32.mul(place.images, place.rows), together * bandRows));
      const transformed = f.int(i32.add(scratch, bufferBytes));
      const sums = f.int(i32.add(transformed, POSITIONS * sourcePosition));
      const firstSource = f.int(i32.add(i32.mul(place.firstRow, 2), row.sourceStart));
      f.increment(sourceAddress, i32.mul(place.firstImage, height * width * channels * WORD));
      f.increment(targetAddress, i32.mul(place.firstImage, target[0] * target[1] * target[2] * WORD));
      const image = f.int(0);
      const to = f.int(transformed);
      const area = {
        region,
        buffer: scratch,
        rows: place.rows,
        columns,
        size: 4,
        transform: sourceTransform,
        position: sourcePosition,
      };
      f.for(image, 0, place.images, 1, () => {
        transformTiles(f, area, sourceAddress, firstSource, to);
        f.increment(sourceAddress, height * width * channels * WORD);
      });
      const panel = f.int(i32.add(filterAddress, i32.mul(block, POSITIONS * panelBytes(correlation))));
      f.while(i32.ltU(block, endBlock), () => {
        const multiply = (count: number) => {
          const extents = { tiles: count, channels, sourcePosition, targetPosition };
          multiplyPositions(f, extents, transformed, panel, sums);
        };
        if (lastTiles === 0) multiply(tiles);
        else f.if(isLast, () => multiply(lastTiles), () => multiply(tiles));
        const out = f.int(i32.add(targetAddress, i32.mul(block, TILE_COLUMNS * WORD)));
        const at = f.int(sums);
        f.for(image, 0, place.images, 1, () => {
          writeTiles(f, { correlation, plan, blocks: 1, position: targetPosition }, place, at, out);
          f.increment(out, target[0] * target[1] * target[2] * WORD);
        });
        f.increment(block, 1);
      });
    },
  };
}

/** Extents of {@link multiplyPositions}. */
interface Products {
  readonly tiles: number;
  readonly channels: number;
  readonly sourcePosition: number;
  readonly targetPosition: number;
}

/** `sums[position][tile][8] = transformed[position][tile][channels] · panel[position][channels][8]`; advances `panel`. */
function multiplyPositions(
  f: FunctionBuilder,
  { tiles, channels, sourcePosition, targetPosition }: Products,
  transformed: Local<"i32">,
  panel: Local<"i32">,
  sums: Local<"i32">,
): void {
  const [position, group, a, b] = [0, 0, 0, 0].map((value) => f.int(value));
  const [from, to] = [f.int(transformed), f.int(sums)];
  const pixel = channels * WORD;
  const multiply = (rows: number) => {
    const sum = new LongTile(f, rows, TILE_VECTORS, channels);
    f.set(a, from);
    f.set(b, panel);
    sum.accumulate({
      a,
      aRows: sum.tile.map((_, r) => r * pixel),
      aStep: WORD,
      b,
      bStep: TILE_COLUMNS * WORD,
      count: channels,
    });
    sum.finish();
    sum.tile.flat().forEach((x, i) => f.do(v128.store(to, x, i * 16)));
    f.increment(from, rows * pixel);
    f.increment(to, rows * TILE_COLUMNS * WORD);
  };
  f.for(position, 0, POSITIONS, 1, () => {
    for (const { pixels, times } of divideRow(tiles, TILE_VECTORS)) {
      f.for(group, 0, times, 1, () => multiply(pixels));
    }
    f.increment(from, sourcePosition - tiles * pixel);
    f.increment(to, targetPosition - tiles * TILE_COLUMNS * WORD);
    f.increment(panel, channels * TILE_COLUMNS * WORD);
  });
}

/** Operands of {@link writeTiles}. */
interface Area {
  readonly correlation: Correlation;
  readonly plan: Tiling;
  /** Blocks of eight channels of a tile's sums. */
  readonly blocks: number;
  /** Bytes from a position's sums to the next. */
  readonly position: number;
}

/**
 * Transforms the sums at `at`, which is advanced past them, to one image's pixels of a unit. `out` is the image's first
 * pixel at the blocks' channels. If an extent is odd, the last tile has pixels beyond it, which are not written.
 */
export function writeTiles(
  f: FunctionBuilder,
  { correlation: { target: [height, width, channels] }, plan, blocks, position }: Area,
  { firstRow, rows }: UnitPlace,
  at: Local<"i32">,
  out: Local<"i32">,
): void {
  const pixel = channels * WORD;
  const row = f.int(firstRow);
  const endRow = f.int(i32.add(firstRow, rows));
  const column = f.int(0);
  const to = f.int(i32.add(out, i32.mul(firstRow, 2 * width * pixel)));
  const block = f.int(0);
  const tile = (across: number) => {
    if (blocks === 1) blockOfTile(across);
    else f.for(block, 0, blocks, 1, () => blockOfTile(across));
    f.increment(to, across * pixel - blocks * TILE_COLUMNS * WORD);
  };
  const blockOfTile = (across: number) => {
    for (let v = 0; v < TILE_VECTORS; v++) {
      const lines = transformGrid(f, loadGrid(at, 4, 4 * position, position), targetTransform)
        .map((line) => line.slice(0, across).map((x) => f.local("v128", x)));
      const store = (i: number) =>
        lines[i].forEach((x, j) => f.do(v128.store(to, x, (i * width + j) * pixel + v * 16)));
      store(0);
      f.if(height % 2 === 0 ? int(1) : i32.ltU(row, plan.rows - 1), () => store(1));
      f.increment(at, 16);
    }
    f.increment(to, TILE_COLUMNS * WORD);
  };
  f.for(row, firstRow, endRow, 1, () => {
    f.for(column, 0, Math.floor(width / 2), 1, () => tile(2));
    if (width % 2 === 1) tile(1);
    f.increment(to, width * pixel);
  });
}
