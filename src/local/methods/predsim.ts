import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole } from "../../base/expect.ts";
import { type ImageExtents, imageExtents } from "../../nn/image.ts";
import { type Layer, sequential, stateless } from "../../nn/layer.ts";
import { descend, select } from "../../nn/named.ts";
import { conv } from "../../nn/conv.ts";
import { linear } from "../../nn/linear.ts";
import { flatten } from "../../nn/flatten.ts";
import { adaptiveAveragePooling } from "../../nn/pooling.ts";
import type { Shape } from "../../trace/dtype.ts";
import { similarityMatching } from "../losses.ts";
import { classified, type Method, refuseDense, refuseRegression } from "../method.ts";

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
 * {@link similarityMatching} loss of its features after a 3×3 convolution. Vectors, and each token, have a linear layer in
 * place of the convolution; tokens are pooled along their length.
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
      refuseDense("predsim: similarity matching", model);
      const extents = asImage(features);
      const [, , width] = extents;
      const prediction = classified(predictor(extents, classes, inputs));
      const similarity = features.length === 3
        ? conv({ in: width, out: width, padding: 1 })
        : linear({ in: width, out: width, bias: false });
      return {
        params: { ...prediction.params, similarity: similarity.params },
        state: prediction.state,
        loss(params, state, h, batch, next) {
          const predicted = prediction.loss(select(params, prediction.params), state, h, batch, next);
          const { y } = similarity.apply(descend(params, "similarity"), {}, h, "train");
          const rows = features.length === 2 ? y.reshape(-1, ...extents) : y;
          const matched = similarityMatching(rows, batch.labels, classes);
          return { loss: predicted.loss.mul(1 - beta).add(matched.mul(beta)), state: predicted.state };
        },
      };
    },
  };
}

/** Features as those of an image: tokens are an image of one column, vectors of one pixel. */
function asImage(features: Shape): ImageExtents {
  const [first = 1, second = 1] = features;
  if (features.length === 1) return [1, 1, first];
  return features.length === 2 ? [first, 1, second] : imageExtents("predsim", features);
}

/** Makes mean pooling, by windows that double in height and width alternately until at most `inputs` remain, and a linear layer. */
function predictor([height, width, channels]: ImageExtents, classes: number, inputs: number): Layer {
  let [rows, columns] = [height, width];
  for (let window = 2; rows * columns * channels > inputs && rows * columns > 1; window *= 2) {
    rows = Math.ceil(height / window);
    if (rows * columns * channels > inputs) columns = Math.ceil(width / window);
  }
  return sequential({
    image: stateless((x) => x.reshape(-1, height, width, channels)),
    pool: adaptiveAveragePooling(rows, columns),
    flatten: flatten({ order: "channelsLast" }),
    fc: linear({ in: rows * columns * channels, out: classes, std: 0 }),
  });
}
