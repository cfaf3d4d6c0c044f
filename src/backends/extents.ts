import { at } from "../base/at.ts";
import type { Shape } from "../trace/dtype.ts";

/** The extents of an image, NHWC, or of a filter, KRSC. */
export type Extents = readonly [number, number, number, number];

/** The extents of a shape of four axes. */
export function extentsOf(shape: Shape): Extents {
  return [at(shape, 0), at(shape, 1), at(shape, 2), at(shape, 3)];
}
