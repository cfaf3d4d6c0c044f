import type { I32, V128 } from "./wasm/expressions.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { type Correlation, correlationText, type Phase, sourceRange } from "./conv_geometry.ts";
import { SLICE } from "./long_tile.ts";
import { panelsBefore } from "./conv_pack_filter.ts";
import type { Routine } from "./routine.ts";
import { copyRegion, type Region, regionBytes } from "./conv_region.ts";
import {
  accumulate,
  clearTile,
  divideRow,
  LANES,
  newTile,
  storeColumns,
  TILE_COLUMNS,
  WORD,
} from "./tile.ts";

/** A band's source rows should fit the first-level cache together with a panel of the filter. */
const BAND_BYTES = 28 * 1024;
/** Enough tasks for a few dozen threads; if there are fewer bands, tasks divide the target's channels too. */
const ENOUGH_TASKS = 16;

/** The division of a correlation into tasks. */
interface Cut {
  /** Phase rows of a task. */
  readonly bandRows: number;
  readonly bands: number;
  /** Blocks of eight target channels in a group, and the number that one task computes. */
  readonly blocks: number;
  readonly taskBlocks: number;
  /** The part of the source that a band reads; `firstRow` is relative to the band's first row. */
  readonly firstRow: number;
  readonly region: Region;
  /** True if the region may extend beyond the image, so that it is copied with zeros around it. */
  readonly copied: boolean;
}

function cut({ images, groups, source, target, phases }: Correlation): Cut {
  const rowPhases = phases.map(({ row }) => row);
  const columnPhases = phases.map(({ column }) => column);
  const rows = Math.max(...rowPhases.map(({ count }) => count));
  const [firstColumn, lastColumn] = sourceRange(columnPhases, ({ count }) => count);
  const regionOf = (bandRows: number): Region => {
    const [first, last] = sourceRange(rowPhases, () => bandRows);
    return {
      image: source,
      channels: source[2],
      rows: last - first + 1,
      firstColumn,
      columns: lastColumn - firstColumn + 1,
    };
  };
  let bands = 1;
  while (Math.ceil(rows / bands) > 4 && regionBytes(regionOf(Math.ceil(rows / bands))) > BAND_BYTES) bands++;
  const bandRows = Math.ceil(rows / bands);
  bands = Math.ceil(rows / bandRows);
  const [firstRow, lastRow] = sourceRange(rowPhases, ({ count }) => count);
  const blocks = Math.ceil(target[2] / groups / TILE_COLUMNS);
  const divisions = Math.min(blocks, Math.max(1, Math.ceil(ENOUGH_TASKS / (images * bands))));
  const taskBlocks = Math.ceil(blocks / divisions);
  return {
    bandRows,
    bands,
    blocks,
    taskBlocks,
    firstRow: sourceRange(rowPhases, () => bandRows)[0],
    region: regionOf(bandRows),
    copied: firstRow < 0 || firstColumn < 0 || lastRow >= source[0] || lastColumn >= source[1],
  };
}

/** The routine of a correlation; its operands are the source, the packed filter and the target. */
export function correlate(correlation: Correlation): Routine {
  const { images, groups, source, target, phases } = correlation;
  const plan = cut(correlation);
  const { bandRows, bands, blocks, taskBlocks, region, copied } = plan;
  const divisions = Math.ceil(blocks / taskBlocks);
  const [height, width, channels] = source;
  const groupColumns = target[2] / groups;
  const pitch = (copied ? region.columns : width) * channels * WORD;
  return {
    key: `correlate ${correlationText(correlation)}`,
    tasks: images * bands * divisions,
    operands: 3,
    scratch: copied ? regionBytes(region) + 64 : 0,
    build({ f, operands: [sourceAddress, filterAddress, targetAddress], task, scratch }) {
      const image = f.int(i32.divU(task, bands * divisions));
      const band = f.int(i32.divU(i32.remU(task, bands * divisions), divisions));
      const firstBlock = f.int(i32.mul(i32.remU(task, divisions), taskBlocks));
      const endBlock = f.int(i32.min(i32.add(firstBlock, taskBlocks), blocks));
      const firstRow = f.int(i32.mul(band, bandRows));
      const firstSource = f.int(i32.add(i32.mul(firstRow, phases[0].row.sourceStep), plan.firstRow));
      f.increment(sourceAddress, i32.mul(image, height * width * channels * WORD));
      f.increment(targetAddress, i32.mul(image, target[0] * target[1] * target[2] * WORD));
      const rows = f.int(scratch);
      if (copied) copyRegion(f, region, sourceAddress, firstSource, rows);
      else {
        const firstColumn = region.firstColumn * channels * WORD;
        f.set(rows, i32.add(sourceAddress, i32.add(i32.mul(firstSource, pitch), firstColumn)));
      }
      const [group, block] = [0, 0].map((value) => f.int(value));
      for (const [index, phase] of phases.entries()) {
        if (phase.row.count === 0 || phase.column.count === 0) continue;
        const { row, column } = phase;
        const panelBytes = row.taps * column.taps * (channels / groups) * TILE_COLUMNS * WORD;
        const firstTap = (row.sourceStart - plan.firstRow) * pitch +
          (column.sourceStart - region.firstColumn) * channels * WORD;
        const endRow = f.int(i32.min(i32.add(firstRow, bandRows), row.count));
        f.for(group, 0, groups, 1, () => {
          const from = f.int(i32.add(i32.add(rows, firstTap), i32.mul(group, channels / groups * WORD)));
          f.for(block, firstBlock, endBlock, 1, () => {
            const panels = i32.add(filterAddress, panelsBefore(correlation, index) * WORD);
            const panelIndex = i32.add(i32.mul(group, blocks), block);
            const channel = i32.add(i32.mul(group, groupColumns), i32.mul(block, TILE_COLUMNS));
            const area: Area = {
              correlation,
              phase,
              pitch,
              from,
              panel: f.int(i32.add(panels, i32.mul(panelIndex, panelBytes))),
              to: f.int(i32.add(targetAddress, i32.mul(channel, WORD))),
              firstRow,
              endRow,
            };
            const last = (groupColumns - 1) % TILE_COLUMNS + 1;
            const isLast = blocks === 1 ? int(1) : i32.eq(block, blocks - 1);
            if (last === TILE_COLUMNS) writeBlock(f, area, TILE_COLUMNS);
            else f.if(isLast, () => writeBlock(f, area, last), () => writeBlock(f, area, TILE_COLUMNS));
          });
        });
      }
    },
  };
}

/** The pixels of one phase in a band, for one block of target channels. */
interface Area {
  readonly correlation: Correlation;
  readonly phase: Phase;
  /** Bytes from a source row to the next. */
  readonly pitch: number;
  /** The first tap of the band's first pixel. */
  readonly from: I32;
  /** The block's packed filter. */
  readonly panel: I32;
  /** The image's first target pixel, at the block's first channel. */
  readonly to: I32;
  readonly firstRow: Local<"i32">;
  readonly endRow: Local<"i32">;
}

function writeBlock(f: FunctionBuilder, area: Area, columns: number): void {
  const { correlation: { source, target, groups }, phase: { row, column }, pitch } = area;
  const vectors = Math.ceil(columns / LANES);
  const [i, x, a, b, added] = [0, 0, 0, 0, 0].map((value) => f.int(value));
  const source0 = f.int(area.from);
  const sourcePixel = column.sourceStep * source[2] * WORD;
  const targetPixel = column.step * target[2] * WORD;
  const rowAddress = f.int(0);
  const out = f.int(0);
  const sliced = row.taps * column.taps * (source[2] / groups) > SLICE;
  const tileOf = (pixels: number) => {
    const tile = newTile(f, pixels, vectors);
    clearTile(f, tile);
    const store = (vectors: readonly (readonly V128[])[]) =>
      vectors.forEach((row, pixel) => storeColumns(f, out, pixel * targetPixel, row, columns));
    const sums = (): V128[][] =>
      tile.map((row, pixel) =>
        row.map((sum, v) => f32x4.add(v128.load(out, pixel * targetPixel + v * 16), sum))
      );
    if (sliced) store(tile); // zeros
    f.set(added, int(0));
    f.set(a, rowAddress);
    f.set(b, area.panel);
    sumTaps(
      f,
      tile.map((_, pixel) => pixel * sourcePixel),
      (aRows, count) => {
        const products = { a, aRows, aStep: WORD, b, bStep: TILE_COLUMNS * WORD };
        const slices = sliced ? Math.ceil(count / SLICE) : 1, size = Math.ceil(count / slices);
        const slice = (count: number) => {
          accumulate(f, tile, { ...products, count });
          if (!sliced) return;
          f.increment(added, count);
          f.if(i32.geU(added, SLICE / 2), () => {
            store(sums());
            clearTile(f, tile);
            f.set(added, int(0));
          });
        };
        const rest = count % size;
        f.for(f.int(0), 0, Math.floor(count / size), 1, () => slice(size));
        if (rest > 0) slice(rest);
      },
      area,
      a,
      source[2],
      groups,
    );
    store(sliced ? sums() : tile);
    f.increment(rowAddress, pixels * sourcePixel);
    f.increment(out, pixels * targetPixel);
  };
  f.for(i, area.firstRow, area.endRow, 1, () => {
    f.set(rowAddress, i32.add(source0, i32.mul(i32.sub(i, area.firstRow), row.sourceStep * pitch)));
    const targetRow = i32.add(i32.mul(i, row.step), row.start);
    f.set(
      out,
      i32.add(
        area.to,
        i32.add(i32.mul(targetRow, target[1] * target[2] * WORD), column.start * target[2] * WORD),
      ),
    );
    for (const { pixels, times } of divideRow(column.count, vectors)) {
      if (times === 1) tileOf(pixels);
      else f.for(x, 0, times, 1, () => tileOf(pixels));
    }
  });
}

/** Sums all taps of a tile; neighbouring taps whose channels are contiguous are one run of products. */
function sumTaps(
  f: FunctionBuilder,
  aRows: readonly number[],
  accumulateRun: (aRows: readonly number[], count: number) => void,
  { phase: { row, column }, pitch }: Area,
  a: Local<"i32">,
  channels: number,
  groups: number,
): void {
  if (row.taps === 0 || column.taps === 0) return;
  const merged = column.taps === 1 || (groups === 1 && column.tapStep === 1);
  const groupChannels = channels / groups;
  const run = merged ? column.taps * groupChannels : groupChannels;
  const runs = merged ? 1 : column.taps;
  const runStep = column.tapStep * channels * WORD;
  const [r, s] = [f.int(0), f.int(0)];
  f.for(r, 0, row.taps, 1, () => {
    f.for(s, 0, runs, 1, () => {
      accumulateRun(aRows, run);
      if (runs > 1) f.increment(a, runStep - run * WORD);
    });
    if (row.taps > 1) f.increment(a, row.tapStep * pitch - (runs > 1 ? runs * runStep : run * WORD));
  });
}
