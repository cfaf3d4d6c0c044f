import { i32, int } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { type Correlation, correlationText, groupsTogether, sourceRange } from "./conv_geometry.ts";
import { LongTile } from "./long_tile.ts";
import {
  MOST_CHUNKS,
  type PartialGradients,
  partialsOf,
  putAway,
  sumGradients,
  unitsTogether,
  WORKSPACE_BYTES,
} from "./conv_partial_gradients.ts";
import type { Launches, Operand, Routine } from "./routine.ts";
import { copyRegion, type Region, regionBytes } from "./conv_region.ts";
import { addTile, LANES, TILE_COLUMNS, TILE_ROWS, TILE_VECTORS, WORD } from "./tile.ts";

/** A band's image rows, together with its dy rows, should stay in the first cache. */
const BAND_BYTES = 24 * 1024;

/** Filter elements of a row of taps that are written out, where they do not lie one after another in the image. */
const SHORT_ROW = 48;

/** How the sum over all pixels is cut: a chunk is a run of units, a unit a band of rows of one image. */
interface Cut extends PartialGradients {
  readonly bandRows: number;
  readonly bands: number;
  readonly chunkUnits: number;
  /** Groups of a task; only their channels are copied. */
  readonly taskGroups: number;
  /** Blocks of a group that a task takes. */
  readonly taskBlocks: number;
  readonly region: Region;
  readonly copied: boolean;
}

function cut(correlation: Correlation): Cut {
  const { images, groups, source, target, phases: [{ row, column }] } = correlation;
  const taskGroups = groupsTogether(correlation);
  const channels = source[2] / groups * taskGroups;
  const [firstColumn, lastColumn] = sourceRange([column], ({ count }) => count);
  const regionOf = (bandRows: number): Region => {
    const [first, last] = sourceRange([row], () => bandRows);
    return {
      image: source,
      channels,
      rows: last - first + 1,
      firstColumn,
      columns: lastColumn - firstColumn + 1,
    };
  };
  let bands = 1;
  while (
    Math.ceil(row.count / bands) > 4 && regionBytes(regionOf(Math.ceil(row.count / bands))) > BAND_BYTES
  ) bands++;
  const bandRows = Math.ceil(row.count / bands);
  bands = Math.ceil(row.count / bandRows);
  const blocks = Math.ceil(target[2] / groups / TILE_COLUMNS);
  const depth = row.taps * column.taps * (source[2] / groups);
  const partialWords = groups * blocks * depth * TILE_COLUMNS;
  const units = images * bands;
  const affordable = Math.max(1, Math.floor(WORKSPACE_BYTES / (partialWords * WORD)));
  const chunkUnits = Math.ceil(units / Math.min(MOST_CHUNKS, affordable, units));
  const chunks = Math.ceil(units / chunkUnits);
  const [firstRow, lastRow] = sourceRange([row], ({ count }) => count);
  return {
    bandRows,
    bands,
    chunks,
    chunkUnits,
    partials: partialsOf(chunkUnits),
    taskGroups,
    blocks,
    taskBlocks: Math.ceil(blocks / Math.min(blocks, Math.ceil(MOST_CHUNKS / chunks / (groups / taskGroups)))),
    region: regionOf(bandRows),
    copied: firstRow < 0 || firstColumn < 0 || lastRow >= source[0] || lastColumn >= source[1],
    depth,
    partialWords,
  };
}

/** `dw = convFilterGrad(image, dy)`, where `correlation` is the forward convolution's. */
export function filterGrad(correlation: Correlation, image: Operand, dy: Operand, dw: Operand): Launches {
  const plan = cut(correlation);
  const partial: Operand = { workspace: 0 };
  return {
    launches: [
      { routine: partialGradients(correlation, plan), operands: [image, dy, partial] },
      { routine: sumGradients(correlation, plan), operands: [partial, dw] },
    ],
    workspace: plan.chunks * plan.partials * plan.partialWords * WORD,
  };
}

function partialGradients(correlation: Correlation, plan: Cut): Routine {
  const { images, groups, source, target, phases: [{ row }] } = correlation;
  const { bandRows, bands, chunks, chunkUnits, taskGroups, blocks, taskBlocks, region, copied } = plan;
  const divisions = Math.ceil(blocks / taskBlocks);
  const taskSets = groups / taskGroups;
  const [height, width, channels] = source;
  return {
    key: `filterGrad ${correlationText(correlation)}`,
    tasks: chunks * taskSets * divisions,
    operands: 3,
    scratch: copied ? regionBytes(region) + 64 : 0,
    build({ f, operands: [imageAddress, dyAddress, partialAddress], task, scratch }) {
      const set = f.int(i32.divU(task, divisions));
      const chunk = f.int(i32.divU(set, taskSets));
      const firstGroup = f.int(i32.mul(i32.remU(set, taskSets), taskGroups));
      const firstBlock = f.int(i32.mul(i32.remU(task, divisions), taskBlocks));
      const endBlock = f.int(i32.min(i32.add(firstBlock, taskBlocks), blocks));
      const unit = f.int(i32.mul(chunk, chunkUnits));
      const endUnit = f.int(i32.min(i32.add(unit, chunkUnits), images * bands));
      const partialBytes = plan.partialWords * WORD;
      f.increment(partialAddress, i32.mul(chunk, plan.partials * partialBytes));
      f.increment(partialAddress, i32.mul(firstGroup, blocks * plan.depth * TILE_COLUMNS * WORD));
      f.increment(imageAddress, i32.mul(firstGroup, channels / groups * WORD));
      f.increment(dyAddress, i32.mul(firstGroup, target[2] / groups * WORD));
      const eachVector = (body: (at: Local<"i32">) => void) =>
        eachPartialVector(f, plan, partialAddress, firstBlock, endBlock, body);
      eachVector((at) => {
        for (let p = 0; p < plan.partials; p++) f.do(v128.store(at, f32x4.constant(0), p * partialBytes));
      });
      f.while(i32.ltU(unit, endUnit), () => {
        const imageIndex = f.int(i32.divU(unit, bands));
        const firstRow = f.int(i32.mul(i32.remU(unit, bands), bandRows));
        const rows = f.int(i32.min(bandRows, i32.sub(row.count, firstRow)));
        const firstSource = f.int(i32.add(i32.mul(firstRow, row.sourceStep), row.sourceStart));
        const pixels = f.int(i32.add(imageAddress, i32.mul(imageIndex, height * width * channels * WORD)));
        if (copied) {
          copyRegion(f, region, pixels, firstSource, scratch);
          f.set(pixels, scratch);
        } else {
          const firstPixel = i32.add(i32.mul(firstSource, width), region.firstColumn);
          f.increment(pixels, i32.mul(firstPixel, channels * WORD));
        }
        const firstTarget = i32.add(i32.mul(imageIndex, target[0]), firstRow);
        const gradient = f.int(i32.add(dyAddress, i32.mul(firstTarget, target[1] * target[2] * WORD)));
        addUnit(f, correlation, plan, {
          pixels,
          gradient,
          rows,
          partial: partialAddress,
          firstBlock,
          endBlock,
        });
        f.increment(unit, 1);
        if (plan.partials === 1) return;
        f.if(
          i32.eqz(i32.remU(unit, unitsTogether(chunkUnits))),
          () => eachVector((at) => putAway(f, at, partialBytes)),
        );
      });
    },
  };
}

/** Runs `body` for every vector of some blocks of a partial gradient. */
function eachPartialVector(
  f: FunctionBuilder,
  { taskGroups, blocks, depth }: Cut,
  partial: Local<"i32">,
  firstBlock: Local<"i32">,
  endBlock: Local<"i32">,
  body: (at: Local<"i32">) => void,
): void {
  const panelBytes = depth * TILE_COLUMNS * WORD;
  const [group, at] = [f.int(0), f.int(0)];
  f.for(group, 0, taskGroups, 1, () => {
    const panels = f.int(i32.add(partial, i32.mul(group, blocks * panelBytes)));
    f.set(at, i32.add(panels, i32.mul(firstBlock, panelBytes)));
    const end = f.int(i32.add(panels, i32.mul(endBlock, panelBytes)));
    f.while(i32.ltU(at, end), () => {
      body(at);
      f.increment(at, 16);
    });
  });
}

/** Addresses of one unit. */
interface Unit {
  /** The image's pixels under the first tap of the unit's first dy pixel. */
  readonly pixels: Local<"i32">;
  /** The unit's first dy pixel. */
  readonly gradient: Local<"i32">;
  /** Rows of dy. */
  readonly rows: Local<"i32">;
  readonly partial: Local<"i32">;
  readonly firstBlock: Local<"i32">;
  readonly endBlock: Local<"i32">;
}

/** Adds a unit's products to a partial gradient, one register tile of filter elements × output channels at a time. */
function addUnit(f: FunctionBuilder, correlation: Correlation, plan: Cut, unit: Unit): void {
  const { groups, source, target, phases: [{ row, column }] } = correlation;
  const { taskGroups, blocks, depth, region, copied } = plan;
  const groupChannels = source[2] / groups;
  const groupColumns = target[2] / groups;
  const pixel = (copied ? region.channels : source[2]) * WORD;
  const pitch = (copied ? region.columns : source[1]) * pixel;
  // Channels of neighbouring taps lie one after another in a row: one run of filter elements.
  const merged = column.taps === 1 || (groups === 1 && column.tapStep === 1);
  const run = merged ? column.taps * groupChannels : groupChannels;
  const runs = merged ? 1 : column.taps;
  const [group, block, r, s, j, i, a, b, rowA, rowB, sum] = new Array<number>(11).fill(0)
    .map((value) => f.int(value));
  /** Filter elements whose image channels lie `offsets` behind `a`. */
  const tileOf = (offsets: readonly number[], columns: number) => {
    // A unit is summed by itself, so that many are not added up one by one.
    const products = new LongTile(
      f,
      offsets.length,
      Math.ceil(columns / LANES),
      plan.bandRows * column.count,
    );
    f.set(rowA, a);
    f.set(rowB, b);
    const [pixelA, pixelB] = [f.int(0), f.int(0)];
    f.for(i, 0, unit.rows, 1, () => {
      f.set(pixelA, rowA);
      f.set(pixelB, rowB);
      products.accumulate({
        a: pixelA,
        aRows: offsets,
        aStep: column.sourceStep * pixel,
        b: pixelB,
        bStep: target[2] * WORD,
        count: column.count,
      });
      f.increment(rowA, row.sourceStep * pitch);
      f.increment(rowB, target[1] * target[2] * WORD);
    });
    products.finish();
    addTile(f, products.tile, sum, TILE_COLUMNS * WORD);
    f.increment(sum, offsets.length * TILE_COLUMNS * WORD);
  };
  const upTo = (count: number) => Array.from({ length: count }, (_, e) => e * WORD);
  const blockOf = (columns: number) => {
    const rows = columns > LANES ? TILE_ROWS : TILE_ROWS * TILE_VECTORS;
    f.for(r, 0, row.taps, 1, () => {
      const start = i32.add(unit.pixels, i32.mul(r, row.tapStep * pitch));
      f.set(a, i32.add(start, i32.mul(group, groupChannels * WORD)));
      if (!merged && runs * run <= SHORT_ROW) {
        const tap = (s: number) => upTo(run).map((offset) => s * column.tapStep * pixel + offset);
        const offsets = Array.from({ length: runs }, (_, s) => tap(s)).flat();
        for (let e = 0; e < offsets.length; e += rows) tileOf(offsets.slice(e, e + rows), columns);
        return;
      }
      f.for(s, 0, runs, 1, () => {
        f.for(j, 0, Math.floor(run / rows), 1, () => {
          tileOf(upTo(rows), columns);
          f.increment(a, rows * WORD);
        });
        if (run % rows > 0) tileOf(upTo(run % rows), columns);
        f.increment(a, column.tapStep * pixel - Math.floor(run / rows) * rows * WORD);
      });
    });
  };
  const last = (groupColumns - 1) % TILE_COLUMNS + 1;
  f.for(group, 0, taskGroups, 1, () => {
    f.for(block, unit.firstBlock, unit.endBlock, 1, () => {
      const panel = i32.add(i32.mul(group, blocks), block);
      f.set(sum, i32.add(unit.partial, i32.mul(panel, depth * TILE_COLUMNS * WORD)));
      const column0 = i32.add(i32.mul(group, groupColumns), i32.mul(block, TILE_COLUMNS));
      f.set(b, i32.add(unit.gradient, i32.mul(column0, WORD)));
      const isLast = blocks === 1 ? int(1) : i32.eq(block, blocks - 1);
      if (last > LANES) blockOf(TILE_COLUMNS);
      else f.if(isLast, () => blockOf(last), () => blockOf(TILE_COLUMNS));
    });
  });
}
