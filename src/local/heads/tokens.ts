import { at } from "../../base/at.ts";
import type { Summary } from "../../models/model.ts";
import { type Layers, stateless } from "../../nn/layer.ts";
import { layerNorm } from "../../nn/layer_norm.ts";
import type { Shape } from "../../trace/dtype.ts";

/** True for the features of tokens: `[length, width]`. */
export function areTokens(features: Shape): boolean {
  return features.length === 2;
}

/**
 * Makes the layers that turn tokens `[batch, length, width]` into vectors `[batch, width]`: layer normalisation, as at the
 * end of a transformer, and the mean of all tokens or the first.
 */
export function summarised(features: Shape, summary: Summary = "mean"): Layers {
  return {
    norm: layerNorm({ features: at(features, 1), epsilon: 1e-6 }),
    summary: stateless((x) => {
      const [batch = 1, , width = 1] = x.shape;
      return summary === "mean" ? x.mean(1) : x.slice([0, 0, 0], [batch, 1, width]).reshape(batch, width);
    }),
  };
}
