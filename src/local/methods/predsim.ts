import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole } from "../../base/expect.ts";
import { constantInitial } from "../../nn/initial.ts";
import { type ImageExtents, imageExtents } from "../../nn/image.ts";
import { type Layer, layer, sequential } from "../../nn/layer.ts";
import { descend, select } from "../../nn/named.ts";
import { conv } from "../../nn/conv.ts";
import { flatten } from "../../nn/flatten.ts";
import { adaptiveAveragePooling } from "../../nn/pooling.ts";
import { similarityMatching } from "../losses.ts";
import { classified, type Method, refuseRegression } from "../method.ts";

/** Options of {@link predsim}. */
export interface PredSimOptions {
  /** The weight β of similarity matching, from 0 to 1; prediction has 1 − β. Default 0.99. */
  beta?: number;
  /** The most inputs of the linear layer, to which features are pooled; default 4096. */
  inputs?: number;
}

/**
 * Prediction and similarity matching (Nøkland & Eidnes, 2019, arXiv 1901.06656): a module's loss is (1 − β) times the
 * cross-entropy of a linear layer on its pooled features, which starts at zero, plus β times the
 * {@link similarityMatching} loss of its features after a 3×3 convolution.
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
  expectOptions("predsim", options, { beta: "number?", inputs: "number?" });
  const { beta = 0.99, inputs = 4096 } = options;
  if (!(beta >= 0 && beta <= 1)) {
    throw new LocalgradError(`predsim: beta must be between 0 and 1, not ${beta}`);
  }
  expectWhole("predsim: inputs", inputs);
  return {
    name: "predsim",
    options: { beta, inputs },
    auxiliary({ features, model }) {
      const { classes } = model;
      refuseRegression("predsim: similarity matching", model);
      if (features.length === 1) {
        throw new LocalgradError(
          "predsim: compares features of images, not of vectors; choose dgl() or greedy()",
        );
      }
      const extents = imageExtents("predsim", features);
      const [, , channels] = extents;
      const prediction = classified(predictor(extents, classes, inputs));
      const similarity = conv({ in: channels, out: channels, padding: 1 });
      return {
        params: { ...prediction.params, similarity: similarity.params },
        state: prediction.state,
        loss(params, state, h, batch, next) {
          const predicted = prediction.loss(select(params, prediction.params), state, h, batch, next);
          const { y } = similarity.apply(descend(params, "similarity"), {}, h, "train");
          const matched = similarityMatching(y, batch.labels, classes);
          return { loss: predicted.loss.mul(1 - beta).add(matched.mul(beta)), state: predicted.state };
        },
      };
    },
  };
}

/** Makes mean pooling, by windows that double in height and width alternately until at most `inputs` remain, and a linear layer. */
function predictor([height, width, channels]: ImageExtents, classes: number, inputs: number): Layer {
  let [rows, columns] = [height, width];
  for (let window = 2; rows * columns * channels > inputs && rows * columns > 1; window *= 2) {
    rows = Math.ceil(height / window);
    if (rows * columns * channels > inputs) columns = Math.ceil(width / window);
  }
  return sequential({
    pool: adaptiveAveragePooling(rows, columns),
    flatten: flatten({ order: "channelsLast" }),
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
