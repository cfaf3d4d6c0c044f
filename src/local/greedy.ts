import type { Layer } from "../nn/layer.ts";
import { classifier } from "./heads.ts";
import { crossEntropy } from "./losses.ts";
import type { Auxiliary, Method } from "./method.ts";

/**
 * Greedy supervised learning: each module is judged by global average pooling, a linear layer and cross-entropy.
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
    auxiliary: ({ features, model }) => classified(classifier("0c1f", features, model.classes)),
  };
}

/** A head that gives logits, judged by cross-entropy; its parameters are kept under `classifier`. */
export function classified(head: Layer): Auxiliary {
  return {
    params: { classifier: head.params },
    state: { classifier: head.state },
    loss(params, state, h, batch) {
      const { y, state: next } = head.apply(
        params.classifier as never,
        state.classifier as never,
        h,
        "train",
      );
      return { loss: crossEntropy(y, batch.labels), state: { classifier: next } };
    },
  };
}
