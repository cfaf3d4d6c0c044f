import { type Layer, stateless } from "./layer.ts";

/** ReLU: max(x, 0). */
export function relu(): Layer {
  return stateless((x) => x.relu());
}
