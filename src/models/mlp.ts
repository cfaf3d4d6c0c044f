import { LocalgradError } from "../base/errors.ts";
import { expectOptions, expectWhole } from "../base/expect.ts";
import { relu } from "../nn/activation.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import { sequential } from "../nn/layer.ts";
import { linear } from "../nn/linear.ts";
import type { Block, Model } from "./model.ts";

/** Options of {@link mlp}: either `classes`, or `outputs` of a regression. */
export interface MlpOptions {
  /** Values per input vector. */
  features: number;
  /** Width of each hidden layer, in order; at least one. */
  hidden: readonly number[];
  /** The number of classes, for a classifier. */
  classes?: number;
  /** The number of predicted values, for a regression. */
  outputs?: number;
  /** Normalises each hidden layer by its batch, before ReLU; default false. */
  batchNorm?: boolean;
}

/**
 * A multilayer perceptron: for each hidden layer a block `hidden.0`, `hidden.1`, … of a linear layer, batch norm if asked
 * for, and ReLU; then the head `fc`. It can be cut after any hidden layer.
 *
 * @throws {LocalgradError} if a width is not a whole number of at least 1, or both or neither of `classes` and `outputs`
 * are given.
 *
 * @example
 * ```ts
 * import { local, models } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const model = models.mlp({ features: 8, hidden: [64, 64, 32], outputs: 1 });
 * assertEquals(model.task, "regression");
 * const { modules } = local.partition(model, { after: ["hidden.0"] });
 * assertEquals(modules.map(({ name }) => name), ["hidden.0", "hidden.1–hidden.2"]);
 * ```
 */
export function mlp(options: MlpOptions): Model {
  expectOptions("mlp", options, {
    features: "number",
    hidden: "array",
    classes: "number?",
    outputs: "number?",
    batchNorm: "boolean?",
  });
  const { features, hidden, classes, outputs, batchNorm: normalised = false } = options;
  const count = classes ?? outputs;
  if (count === undefined || (classes !== undefined && outputs !== undefined)) {
    throw new LocalgradError("mlp: give classes, for a classifier, or outputs, for a regression");
  }
  const widths = [features, ...hidden];
  if (hidden.length === 0) throw new LocalgradError("mlp: hidden needs the width of at least one layer");
  expectWhole("mlp: features", features);
  for (const width of hidden) expectWhole("mlp: a hidden width", width);
  expectWhole(classes === undefined ? "mlp: outputs" : "mlp: classes", count);
  return {
    name: "mlp",
    input: { features },
    classes: count,
    task: classes === undefined ? "regression" : "classification",
    stem: {},
    blocks: hidden.map((out, i): Block => ({
      name: `hidden.${i}`,
      layer: sequential({
        linear: linear({ in: widths[i] ?? features, out }),
        ...(normalised ? { bn: batchNorm({ channels: out }) } : {}),
        relu: relu(),
      }),
    })),
    head: { fc: linear({ in: widths.at(-1) ?? features, out: count }) },
  };
}
