import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Prediction, Ranked } from "./prediction.ts";

/**
 * Ranks the classes of an image by its logits.
 *
 * @param names The name of each class; missing ones are numbered.
 * @param count Number of classes in `top`.
 * @throws {LocalgradError} if a logit is NaN.
 */
export function ranked(logits: Float32Array, names: readonly string[], count: number): Prediction {
  if (logits.some(Number.isNaN)) {
    throw new LocalgradError(
      "predict: the network's output is NaN: its weights have diverged, or the image has a NaN",
    );
  }
  const probabilities = softmax(logits);
  const order = Uint32Array.from(logits, (_, index) => index)
    .sort((a, b) => at(logits, b) - at(logits, a) || a - b);
  const top = Array.from(order.subarray(0, count), (index): Ranked => ({
    name: names[index] ?? String(index),
    index,
    probability: at(probabilities, index),
  }));
  return { best: at(top, 0), top, probabilities, logits };
}

/** Probabilities of logits; an infinite logit takes them all. */
function softmax(logits: Float32Array): Float32Array {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = Array.from(logits, (logit) => logit === most ? 1 : Math.exp(logit - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  return Float32Array.from(weights, (weight) => weight / sum);
}
