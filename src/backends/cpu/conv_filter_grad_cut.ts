import { type Correlation, groupsTogether, sourceRange } from "./conv_geometry.ts";
import { MOST_CHUNKS, type PartialGradients, partialsOf, WORKSPACE_BYTES } from "./conv_partial_gradients.ts";
import { type Region, regionBytes } from "./conv_region.ts";
import { TILE_COLUMNS, WORD } from "./tile.ts";

/** A band's image rows and dy rows together should fit the first-level cache. */
const BAND_BYTES = 24 * 1024;

/** The division of the sum over all pixels: a chunk is a run of units, a unit a band of rows of one image. */
export interface FilterGradCut extends PartialGradients {
  /** Rows of a band; the last band of an image may have fewer. */
  readonly bandRows: number;
  /** Bands of an image. */
  readonly bands: number;
  /** Units of a chunk. */
  readonly chunkUnits: number;
  /** Groups of a task; only their channels are copied. */
  readonly taskGroups: number;
  /** Blocks of a group that a task computes. */
  readonly taskBlocks: number;
  /** The part of the image that a band reads. */
  readonly region: Region;
  /** True if the region may extend beyond the image, so that it is copied with zeros around it. */
  readonly copied: boolean;
}

/** Cuts the gradient of a forward convolution's filter. */
export function cutFilterGrad(correlation: Correlation): FilterGradCut {
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
