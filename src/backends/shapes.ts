import type { Shape } from "../trace/dtype.ts";

/** The extents of an image (N, H, W, C) or of a filter (K, R, S, C). */
export type Four = readonly [number, number, number, number];

/**
 * The extents of a shape of four axes.
 *
 * @throws {RangeError} if the shape has any other rank, which the shape rules exclude.
 */
export function fourOf(shape: Shape): Four {
  const [first, second, third, fourth] = shape;
  if (
    shape.length !== 4 || first === undefined || second === undefined || third === undefined ||
    fourth === undefined
  ) throw new RangeError(`a shape of four axes was expected, not [${shape.join(", ")}]`);
  return [first, second, third, fourth];
}
