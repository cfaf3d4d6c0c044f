import { type Layer, stateless } from "./layer.ts";

/** Flattens all axes but the batch into one, row-major. */
export function flatten(): Layer {
  return stateless((x) => x.reshape(...x.shape.slice(0, 1), -1));
}
