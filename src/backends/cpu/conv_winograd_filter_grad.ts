import { i32 } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { type Correlation, correlationText } from "./conv_geometry.ts";
import { LongTile } from "./long_tile.ts";
import {
  carry,
  MOST_CHUNKS,
  partialsOf,
  sumGradients,
  unitsTogether,
  WORKSPACE_BYTES,
} from "./conv_partial_gradients.ts";
import type { Launches, Operand, Routine } from "./routine.ts";
import { type Region, regionBytes } from "./conv_region.ts";
import { addTile, divideRow, TILE_COLUMNS, TILE_VECTORS, WORD } from "./tile.ts";
import {
  cutTiles,
  positionBytes,
  POSITIONS,
  tapTransform,
  type Tiling,
  transformGrid,
} from "./conv_winograd.ts";
import { transformUnit } from "./conv_winograd_unit.ts";

/** The least tiles of a chunk, which amortise writing and reading its 16 sums. */
const CHUNK_TILES = 64;

/** The division of the sum over all tiles: a chunk is a run of units. */
interface Cut {
  readonly tiling: Tiling;
  readonly chunks: number;
  readonly chunkUnits: number;
  /** Blocks of eight output channels, and the number that one task computes. */
  readonly blocks: number;
  readonly taskBlocks: number;
  /** Bytes of a partial gradient's panel `[channels][8]`; a partial gradient is `[block][position]` of those. */
  readonly panelBytes: number;
  /** The pixels of dy of a unit, with the channels of a task. */
  readonly gradientRegion: Region;
}

function cut(correlation: Correlation): Cut {
  const { images, source: [, , channels], target } = correlation;
  const tiling = cutTiles(correlation);
  const { rows, columns, bandRows, units } = tiling;
  const blocks = target[2] / TILE_COLUMNS;
  const panelBytes = channels * TILE_COLUMNS * WORD;
  const affordable = Math.floor(WORKSPACE_BYTES / (blocks * POSITIONS * panelBytes));
  const worthwhile = Math.floor(images * rows * columns / CHUNK_TILES);
  const most = Math.max(1, Math.min(MOST_CHUNKS, affordable, worthwhile));
  const chunkUnits = Math.ceil(units / most);
  const chunks = Math.ceil(units / chunkUnits);
  let divisions = Math.min(blocks, Math.ceil(MOST_CHUNKS / chunks));
  while (blocks % divisions > 0) divisions--; // all tasks compute equally many blocks
  return {
    tiling,
    chunks,
    chunkUnits,
    blocks,
    taskBlocks: blocks / divisions,
    panelBytes,
    gradientRegion: {
      image: target,
      channels: target[2] / divisions,
      rows: 2 * bandRows,
      firstColumn: 0,
      columns: 2 * columns,
    },
  };
}

/** `dw = convFilterGrad(image, dy)` by minimal filtering, where `correlation` is the forward convolution's. */
export function winogradFilterGrad(
  correlation: Correlation,
  image: Operand,
  dy: Operand,
  dw: Operand,
): Launches {
  const plan = cut(correlation);
  const partial: Operand = { workspace: 0 };
  return {
    launches: [
      { routine: partialSums(correlation, plan), operands: [image, dy, partial] },
      { routine: sumPartial(correlation, plan), operands: [partial, dw] },
    ],
    workspace: plan.chunks * partialsOf(plan.chunkUnits) * partialBytes(plan),
  };
}

/** Bytes of a partial gradient. */
const partialBytes = ({ blocks, panelBytes }: Cut): number => blocks * POSITIONS * panelBytes;

function partialSums(correlation: Correlation, plan: Cut): Routine {
  const { source: [, , channels] } = correlation;
  const { tiling, chunks, chunkUnits, blocks, taskBlocks, panelBytes, gradientRegion } = plan;
  const { units, tiles, region, bands } = tiling;
  const divisions = blocks / taskBlocks;
  const columnsOfTask = gradientRegion.channels;
  const sourcePosition = positionBytes(tiles, channels);
  const gradientPosition = positionBytes(tiles, columnsOfTask);
  const bufferBytes = Math.ceil(Math.max(regionBytes(region), regionBytes(gradientRegion)) / 64) * 64;
  return {
    key: `winograd filterGrad ${correlationText(correlation)}`,
    tasks: chunks * divisions,
    operands: 3,
    scratch: bufferBytes + POSITIONS * (sourcePosition + gradientPosition),
    build({ f, operands: [image, dy, partial], task, scratch }) {
      const chunk = f.int(i32.divU(task, divisions));
      const division = f.int(i32.remU(task, divisions));
      const unit = f.int(i32.mul(chunk, chunkUnits));
      const endUnit = f.int(i32.min(i32.add(unit, chunkUnits), units));
      const taskBytes = taskBlocks * POSITIONS * panelBytes;
      const partials = partialsOf(chunkUnits);
      f.increment(partial, i32.mul(chunk, partials * partialBytes(plan)));
      f.increment(partial, i32.mul(division, taskBytes));
      const at = f.int(0);
      const eachVector = (body: () => void) => f.for(at, partial, i32.add(partial, taskBytes), 16, body);
      f.increment(dy, i32.mul(division, columnsOfTask * WORD));
      if (chunkUnits > 1) {
        eachVector(() => {
          for (let p = 0; p < partials; p++) f.do(v128.store(at, f32x4.constant(0), p * partialBytes(plan)));
        });
      }
      const sources = f.int(i32.add(scratch, bufferBytes));
      const gradients = f.int(i32.add(sources, POSITIONS * sourcePosition));
      const operands = {
        tiling,
        gradientRegion,
        image,
        dy,
        buffer: scratch,
        sources,
        sourcePosition,
        gradients,
        gradientPosition,
      };
      f.while(i32.ltU(unit, endUnit), () => {
        const { count, rows } = transformUnit(f, correlation, operands, unit);
        addProducts(f, plan, { channels, columns: columnsOfTask, sourcePosition, gradientPosition }, {
          runs: bands > 1 ? rows : count,
          sources,
          gradients,
          partial,
        });
        f.increment(unit, 1);
        if (partials === 1) return;
        const full = i32.eqz(i32.remU(unit, unitsTogether(chunkUnits)));
        f.if(full, () => eachVector(() => carry(f, at, partialBytes(plan))));
      });
    },
  };
}

/** Extents of {@link addProducts}. */
interface Products {
  readonly channels: number;
  readonly columns: number;
  readonly sourcePosition: number;
  readonly gradientPosition: number;
}

/** Addresses of a unit. */
interface Unit {
  /** Rows of tiles of a band, or images. */
  readonly runs: Local<"i32">;
  readonly sources: Local<"i32">;
  readonly gradients: Local<"i32">;
  readonly partial: Local<"i32">;
}

/** `partial[block][position][channel][8] += Σ sources[position][tile][channel] · gradients[position][tile][block][8]`. */
function addProducts(
  f: FunctionBuilder,
  { tiling: { bands, bandTiles, tiles, columns: tileColumns }, chunkUnits, taskBlocks }: Cut,
  { channels, columns, sourcePosition, gradientPosition }: Products,
  unit: Unit,
): void {
  const [block, position, group, run, a, b, gradient] = [0, 0, 0, 0, 0, 0, 0].map((value) => f.int(value));
  const source = f.int(0);
  const sum = f.int(unit.partial);
  const multiply = (rows: number) => {
    const products = new LongTile(f, rows, TILE_VECTORS, tiles);
    const { tile } = products;
    f.set(a, source);
    f.set(b, gradient);
    f.for(run, 0, unit.runs, 1, () =>
      products.accumulate({
        a,
        aRows: tile.map((_, r) => r * WORD),
        aStep: channels * WORD,
        b,
        bStep: columns * WORD,
        count: bands > 1 ? tileColumns : bandTiles,
      }));
    products.finish();
    if (chunkUnits === 1) tile.flat().forEach((x, i) => f.do(v128.store(sum, x, i * 16)));
    else addTile(f, tile, sum, TILE_COLUMNS * WORD); // each unit is summed by itself, so that the terms of many units are not added one by one
    f.increment(source, rows * WORD);
    f.increment(sum, rows * TILE_COLUMNS * WORD);
  };
  f.for(block, 0, taskBlocks, 1, () => {
    f.set(source, unit.sources);
    f.set(gradient, i32.add(unit.gradients, i32.mul(block, TILE_COLUMNS * WORD)));
    f.for(position, 0, POSITIONS, 1, () => {
      for (const { pixels, times } of divideRow(channels, TILE_VECTORS)) {
        f.for(group, 0, times, 1, () => multiply(pixels));
      }
      f.increment(source, sourcePosition - channels * WORD);
      f.increment(gradient, gradientPosition);
    });
  });
}

/** Adds partial sums in order and transforms them to filter elements, one block of output channels per task. */
function sumPartial(correlation: Correlation, plan: Cut): Routine {
  const { blocks, panelBytes } = plan;
  const chunks = plan.chunks * partialsOf(plan.chunkUnits);
  const unpack = sumGradients(correlation, {
    chunks: 1,
    partials: 1,
    blocks,
    depth: 9 * correlation.source[2],
    partialWords: 0,
  });
  return {
    key: `winograd ${chunks}, ${unpack.key}`,
    tasks: blocks,
    operands: 2,
    scratch: 9 * panelBytes,
    build({ f, operands: [partial, dw], task, scratch, execute }) {
      const from = f.int(i32.add(partial, i32.mul(task, POSITIONS * panelBytes)));
      const to = f.int(scratch);
      const end = f.int(i32.add(to, panelBytes));
      const [chunk, at] = [f.int(0), f.int(0)];
      f.while(i32.ltU(to, end), () => {
        const columns = Array.from({ length: 4 }, (_, j) => {
          const sums = Array.from({ length: 4 }, () => f.local("v128", f32x4.constant(0)));
          f.set(at, i32.add(from, j * panelBytes));
          f.for(chunk, 0, chunks, 1, () => {
            sums.forEach((x, i) => f.set(x, f32x4.add(x, v128.load(at, 4 * i * panelBytes))));
            f.increment(at, partialBytes(plan));
          });
          return sums;
        });
        const grid = columns[0].map((_, i) => columns.map((column) => column[i]));
        transformGrid(f, grid, tapTransform).flat()
          .forEach((x, tap) => f.do(v128.store(to, x, tap * panelBytes)));
        f.increment(from, 16);
        f.increment(to, 16);
      });
      const panels = f.int(i32.sub(scratch, i32.mul(task, 9 * panelBytes)));
      unpack.build({ f, operands: [panels, dw], task, scratch, execute });
    },
  };
}
