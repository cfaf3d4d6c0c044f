/** The operands of a filter's gradient by minimal filtering, one unit of tiles at a time. */

import type { Correlation } from "./conv_geometry.ts";
import type { Region } from "./conv_region.ts";
import {
  gradientTransform,
  placeUnit,
  sourceTransform,
  type Tiling,
  transformTiles,
} from "./conv_winograd.ts";
import { WORD } from "./tile.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { i32 } from "./wasm/scalars.ts";

/** A unit's operands: extents, and addresses that stay the same for all units. */
export interface UnitOperands {
  readonly tiling: Tiling;
  /** The pixels of the result's gradient of a unit, with the channels of a task. */
  readonly gradientRegion: Region;
  /** The image, and the result's gradient at the first channel of the task. */
  readonly image: Local<"i32">;
  readonly dy: Local<"i32">;
  /** Room for the larger region of the two. */
  readonly buffer: Local<"i32">;
  /** Transformed tiles of both, `[position][tile][channels]`, and the bytes from a position to the next. */
  readonly sources: Local<"i32">;
  readonly sourcePosition: number;
  readonly gradients: Local<"i32">;
  readonly gradientPosition: number;
}

/** What a unit has: images, rows of tiles of each, and the ends of the tiles written at the first position. */
export interface TransformedUnit {
  readonly count: Local<"i32">;
  readonly rows: Local<"i32">;
  readonly sourceEnd: Local<"i32">;
  readonly gradientEnd: Local<"i32">;
}

/** Writes code that transforms a unit's tiles of the image and of the result's gradient. */
export function transformUnit(
  f: FunctionBuilder,
  { images, phases: [phase] }: Correlation,
  { tiling, gradientRegion, image, dy, buffer, ...to }: UnitOperands,
  unit: Local<"i32">,
): TransformedUnit {
  const { columns, region } = tiling;
  const { firstImage, images: count, firstRow, rows } = placeUnit(f, tiling, images, unit);
  const firstPixel = f.int(i32.mul(firstRow, 2));
  const firstSource = f.int(i32.add(firstPixel, phase?.row.sourceStart ?? 0));
  const sourceEnd = f.int(to.sources), gradientEnd = f.int(to.gradients);
  const endImage = f.int(i32.add(firstImage, count));
  const area = { buffer, rows, columns };
  const sourceArea = { ...area, region, size: 4, transform: sourceTransform, position: to.sourcePosition };
  const gradientArea = {
    ...area,
    region: gradientRegion,
    size: 2,
    transform: gradientTransform,
    position: to.gradientPosition,
  };
  const at = f.int(0);
  const imageAt = (values: Local<"i32">, { image: [height, width, channels] }: Region) =>
    i32.add(values, i32.mul(at, height * width * channels * WORD));
  f.for(at, firstImage, endImage, 1, () => {
    transformTiles(f, sourceArea, imageAt(image, region), firstSource, sourceEnd);
    transformTiles(f, gradientArea, imageAt(dy, gradientRegion), firstPixel, gradientEnd);
  });
  return { count, rows, sourceEnd, gradientEnd };
}
