import { LocalgradError } from "../../base/errors.ts";
import { expectObject, expectWhole } from "../../base/expect.ts";
import { constantInitial } from "../../nn/initial.ts";
import { type Layer, layer, sequential } from "../../nn/layer.ts";
import { conv } from "../../nn/conv.ts";
import { flatten } from "../../nn/flatten.ts";
import { adaptiveAveragePooling } from "../../nn/pooling.ts";
import type { Shape } from "../../trace/dtype.ts";
import { similarityMatching } from "../losses.ts";
import { classified, type Method } from "../method.ts";

/** Options of {@link predsim}. */
export interface PredSimOptions {
  /** Weight of similarity matching, from 0 to 1; prediction has the rest. Default 0.99. */
  beta?: number;
  /** Features are pooled until at most this many reach the linear layer; default 4096. */
  inputs?: number;
}

/**
 * Prediction and similarity matching (Nøkland & Eidnes, 2019, arXiv 1901.06656): a module's loss is (1 − β) times the
 * cross-entropy of a linear layer on its pooled features, which starts at zero, and β times how much less alike images
 * of one class, and how much more alike those of two, are after a 3×3 convolution than their labels; see
 * {@link similarityMatching}.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(local.man(local.predsim({ beta: 0.9 })).name, "man+predsim");
 * ```
 */
export function predsim(options: PredSimOptions = {}): Method {
  expectObject("predsim", options, { beta: "number?", inputs: "number?" });
  const { beta = 0.99, inputs = 4096 } = options;
  if (!(beta >= 0 && beta <= 1)) {
    throw new LocalgradError(`predsim: beta must be between 0 and 1, not ${beta}`);
  }
  expectWhole("predsim: inputs", inputs);
  return {
    name: "predsim",
    options: { beta, inputs },
    auxiliary({ features, model: { classes } }) {
      const [, , channels] = features;
      const prediction = classified(predictor(features, classes, inputs));
      const similarity = conv({ in: channels, out: channels, padding: 1 });
      return {
        params: { ...prediction.params, similarity: similarity.params },
        state: prediction.state,
        loss({ similarity: weights, ...params }, state, h, batch, next) {
          const predicted = prediction.loss(params, state, h, batch, next);
          const { y } = similarity.apply(weights as never, {}, h, "train");
          const matched = similarityMatching(y, batch.labels, classes);
          return { loss: predicted.loss.mul(1 - beta).add(matched.mul(beta)), state: predicted.state };
        },
      };
    },
  };
}

/** Mean pooling by windows that double, in height and in width by turns, until few enough values are left; linear. */
function predictor([height, width, channels]: Shape, classes: number, inputs: number): Layer {
  let [rows, columns] = [height, width];
  for (let window = 2; rows * columns * channels > inputs && rows * columns > 1; window *= 2) {
    rows = Math.ceil(height / window);
    if (rows * columns * channels > inputs) columns = Math.ceil(width / window);
  }
  return sequential({
    pool: adaptiveAveragePooling(rows, columns),
    flatten: flatten(),
    fc: layer({
      params: {
        weight: constantInitial(0, [classes, rows * columns * channels]),
        bias: constantInitial(0, [classes]),
      },
      apply: ({ weight, bias }, state, x) => ({
        y: x.matmul(weight.cast(x.dtype), { transposeB: true }).add(bias.cast(x.dtype)),
        state,
      }),
    }),
  });
}
