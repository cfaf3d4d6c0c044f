import { type Correlation, correlationText } from "../conv_geometry.ts";
import {
  carry,
  MOST_CHUNKS,
  partialsOf,
  sumGradients,
  unitsTogether,
  WORKSPACE_BYTES,
} from "../conv_partial_gradients.ts";
import { type Region, regionBytes } from "../conv_region.ts";
import { cutTiles, loadGrid, POSITIONS, tapTransform, type Tiling, transformGrid } from "../conv_winograd.ts";
import { transformUnit } from "../conv_winograd_unit.ts";
import type { Launches, Operand, Routine } from "../routine.ts";
import { TILE_COLUMNS, TILE_VECTORS, WORD } from "../tile.ts";
import type { FunctionBuilder, Local } from "../wasm/function.ts";
import { i32 } from "../wasm/scalars.ts";
import { f32x4, v128 } from "../wasm/vectors.ts";
import type { OnednnEngine } from "./engine.ts";
import type { Layout, Made } from "./maker.ts";
import { matrices, MOST_TILES, rowsFor } from "./winograd.ts";

/** The least tiles of a chunk, which amortise writing and reading its partial gradient. */
const CHUNK_TILES = 128;
/** Enough tasks for a few threads; if there are fewer chunks, tasks divide the target's channels too. */
const ENOUGH_TASKS = 8;
/** The least target channels of a task, against which transforming the source again does not count. */
const LEAST_COLUMNS = 64;

/** The division of the sum over all tiles: a chunk is a run of units. */
interface Cut {
  readonly tiling: Tiling;
  readonly chunks: number;
  readonly chunkUnits: number;
  /** Target channels of a task. */
  readonly columns: number;
  /** Rows of a position's matrix of tiles. */
  readonly rows: number;
  /** The pixels of the result's gradient of a unit, with the channels of a task. */
  readonly gradientRegion: Region;
}

function cut(correlation: Correlation): Cut {
  const { source: [, , channels], target } = correlation, targets = target[2];
  const tiling = cutTiles(correlation, MOST_TILES);
  const affordable = Math.floor(WORKSPACE_BYTES / (9 * channels * targets * WORD));
  const worthwhile = Math.floor(tiling.units * tiling.tiles / CHUNK_TILES);
  const most = Math.max(1, Math.min(MOST_CHUNKS, affordable, worthwhile));
  const chunkUnits = Math.ceil(tiling.units / most);
  const chunks = Math.ceil(tiling.units / chunkUnits);
  let divisions = Math.max(
    1,
    Math.min(Math.ceil(ENOUGH_TASKS / chunks), Math.floor(targets / LEAST_COLUMNS)),
  );
  while (targets % (divisions * TILE_COLUMNS) > 0) divisions--; // all tasks compute equally many channels
  const columns = targets / divisions;
  return {
    tiling,
    chunks,
    chunkUnits,
    columns,
    rows: rowsFor(tiling.tiles),
    gradientRegion: {
      image: target,
      channels: columns,
      rows: 2 * tiling.bandRows,
      firstColumn: 0,
      columns: 2 * tiling.columns,
    },
  };
}

/**
 * `dw = convFilterGrad(image, dy)`, where `correlation` is the forward convolution's. Undefined where oneDNN has no product
 * for it.
 */
export function winogradFilterGrad(
  engine: OnednnEngine,
  correlation: Correlation,
  image: Operand,
  dy: Operand,
  dw: Operand,
): Launches | undefined {
  const plan = cut(correlation);
  const { chunks, chunkUnits, columns, rows } = plan;
  const { source: [, , channels], target: [, , targets] } = correlation;
  const tiles: Layout = {
    dtype: "f32",
    sizes: [POSITIONS, channels, rows],
    strides: [rows * channels, 1, channels],
  };
  const product = engine.product(tiles, matrices(rows, columns), matrices(channels, columns), chunkUnits > 1);
  if (product === undefined) return undefined;
  const partial: Operand = { workspace: 0 };
  const partialWords = 9 * channels * targets;
  const sum = sumGradients(correlation, {
    chunks,
    partials: 1,
    blocks: targets / TILE_COLUMNS,
    depth: 9 * channels,
    partialWords,
  });
  return {
    launches: [
      { routine: partialGradients(correlation, plan, product), operands: [image, dy, partial] },
      { routine: sum, operands: [partial, dw] },
    ],
    workspace: chunks * partialWords * WORD,
  };
}

/** One chunk's partial gradient `[block][tap][channels][8]`, or some blocks of it, per task. */
function partialGradients(correlation: Correlation, plan: Cut, product: Made): Routine {
  const { source: [, , channels], target: [, , targets] } = correlation;
  const { tiling, chunks, chunkUnits, rows, gradientRegion } = plan;
  const { units, region } = tiling;
  const divisions = targets / plan.columns;
  const bufferBytes = Math.ceil(Math.max(regionBytes(region), regionBytes(gradientRegion)) / 64) * 64;
  const sourcePosition = rows * channels * WORD, gradientPosition = rows * plan.columns * WORD;
  const sumBytes = POSITIONS * channels * plan.columns * WORD;
  const partials = partialsOf(chunkUnits);
  const ownBytes = bufferBytes + POSITIONS * (sourcePosition + gradientPosition) + partials * sumBytes;
  return {
    key: `oneDNN winograd filterGrad ${product.implementation} #${product.id}, ${chunkUnits} units, ` +
      correlationText(correlation),
    tasks: chunks * divisions,
    operands: 3,
    scratch: ownBytes + product.scratch,
    primitives: [product],
    build({ f, operands: [image, dy, partial], task, scratch, execute }) {
      if (image === undefined || dy === undefined || partial === undefined) {
        throw new Error("a gradient takes three operands");
      }
      const chunk = f.int(i32.divU(task, divisions)), division = f.int(i32.remU(task, divisions));
      const unit = f.int(i32.mul(chunk, chunkUnits));
      const endUnit = f.int(i32.min(i32.add(unit, chunkUnits), units));
      f.increment(dy, i32.mul(division, plan.columns * WORD));
      f.increment(partial, i32.mul(task, 9 * channels * plan.columns * WORD));
      const sources = f.int(i32.add(scratch, bufferBytes));
      const gradients = f.int(i32.add(sources, POSITIONS * sourcePosition));
      const sums = f.int(i32.add(gradients, POSITIONS * gradientPosition));
      const at = f.int(0);
      const eachVector = (body: () => void) => f.for(at, sums, i32.add(sums, sumBytes), 16, body);
      if (chunkUnits > 1) {
        eachVector(() => {
          for (let p = 0; p < partials; p++) f.do(v128.store(at, f32x4.constant(0), p * sumBytes));
        });
      }
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
        const { sourceEnd, gradientEnd } = transformUnit(f, correlation, operands, unit);
        clearRest(f, sourceEnd, sources, sourcePosition);
        clearRest(f, gradientEnd, gradients, gradientPosition);
        execute(product, sources, gradients, sums, i32.add(scratch, ownBytes));
        f.increment(unit, 1);
        if (partials === 1) return;
        const full = i32.eqz(i32.remU(unit, unitsTogether(chunkUnits)));
        f.if(full, () => eachVector(() => carry(f, at, sumBytes)));
      });
      if (partials > 1) {
        eachVector(() => f.do(v128.store(at, f32x4.add(v128.load(at), v128.load(at, sumBytes)))));
      }
      writeTaps(f, { channels, columns: plan.columns }, sums, partial);
    },
  };
}

/** Transforms sums `[position][channels][columns]` to a gradient `[block][tap][channels][8]`; advances both addresses. */
function writeTaps(
  f: FunctionBuilder,
  { channels, columns }: { readonly channels: number; readonly columns: number },
  sums: Local<"i32">,
  gradient: Local<"i32">,
): void {
  const position = channels * columns * WORD, panel = channels * TILE_COLUMNS * WORD;
  const block = f.int(0), channel = f.int(0), from = f.int(0);
  f.for(block, 0, columns / TILE_COLUMNS, 1, () => {
    f.set(from, sums);
    f.for(channel, 0, channels, 1, () => {
      for (let v = 0; v < TILE_VECTORS; v++) {
        transformGrid(f, loadGrid(from, 4, 4 * position, position), tapTransform).flat()
          .forEach((x, tap) => f.do(v128.store(gradient, x, tap * panel)));
        f.increment(from, 16);
        f.increment(gradient, 16);
      }
      f.increment(from, (columns - TILE_COLUMNS) * WORD);
    });
    f.increment(gradient, 8 * panel);
    f.increment(sums, TILE_COLUMNS * WORD);
  });
}

/** Clears the rows of all positions' matrices that no tile fills; `to` is the first of them in the first matrix. */
function clearRest(f: FunctionBuilder, to: Local<"i32">, matrices: Local<"i32">, position: number): void {
  const end = f.int(i32.add(matrices, position)), at = f.int(0);
  f.for(at, to, end, 16, () => {
    for (let p = 0; p < POSITIONS; p++) f.do(v128.store(at, f32x4.constant(0), p * position));
  });
}
