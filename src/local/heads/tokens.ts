import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
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
 * end of a transformer, and the mean of all tokens or the first. `each` token stays one: the result has the shape of the
 * tokens.
 */
export function summarised(features: Shape, summary: Summary = "mean"): Layers {
  const norm = layerNorm({ features: at(features, 1), epsilon: 1e-6 });
  if (summary === "each") return { norm };
  return {
    norm,
    summary: stateless((x) => {
      const [batch = 1, , width = 1] = x.shape;
      return summary === "mean" ? x.mean(1) : x.slice([0, 0, 0], [batch, 1, width]).reshape(batch, width);
    }),
  };
}

/** Refuses networks that classify each token, where a head has batch norm: that takes statistics over later tokens too. */
export function refuseEach(who: string, summary: Summary | undefined): void {
  if (summary !== "each") return;
  throw new LocalgradError(
    `${who}: batch norm in its heads would show each token those after it; choose greedy() for networks that classify tokens`,
  );
}
