import { classifierFor } from "../heads/pixel_heads.ts";
import { classified, type Method } from "../method.ts";

/**
 * Greedy supervised learning: each local loss is global average pooling, a linear layer and cross-entropy. Of tokens, layer
 * normalisation and the network's summary come before the linear layer.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(local.greedy().name, "greedy");
 * ```
 */
export function greedy(): Method {
  return {
    name: "greedy",
    options: {},
    auxiliary: ({ features, model }) => classified(classifierFor(model, "0c1f", features)),
  };
}
