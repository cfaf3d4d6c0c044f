import { LocalgradError } from "../base/errors.ts";
import { requireShape, type Shape } from "../trace/dtype.ts";

/** The extents of one image, or of its features. */
export type ImageExtents = readonly [height: number, width: number, channels: number];

/**
 * Returns the extents of one image's features; refuses another shape. `who` begins the message.
 *
 * @param shape `[height, width, channels]`, without the batch axis.
 */
export function imageExtents(who: string, shape: Shape): ImageExtents {
  requireShape(shape, who);
  const [height, width, channels] = shape;
  if (shape.length !== 3 || height === undefined || width === undefined || channels === undefined) {
    throw new LocalgradError(`${who}: needs features [height, width, channels], not [${shape.join(",")}]`);
  }
  return [height, width, channels];
}
