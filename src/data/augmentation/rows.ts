import { at } from "../../base/at.ts";
import type { Tensor } from "../../trace/tensor.ts";

/**
 * The images of a batch that are at hand, from one to before another. Random numbers are drawn for the whole batch, so
 * that they do not depend on how it is divided.
 */
export interface Rows {
  /** Images of the whole batch. */
  readonly batch: number;
  readonly from: number;
  readonly to: number;
}

/** All images of a batch. */
export function allRows(images: Tensor): Rows {
  const batch = at(images.shape, 0);
  return { batch, from: 0, to: batch };
}

/** What was drawn for these images, of `[batch, …]`. */
export function take(drawn: Tensor, { from, to }: Rows): Tensor {
  const [, ...rest] = drawn.shape;
  return drawn.slice([from, ...rest.map(() => 0)], [to, ...rest]);
}
