/**
 * Export to ONNX, for ONNX Runtime and everything else that reads it. A separate sub-path, because it needs a package,
 * which writes protocol buffers.
 *
 * @module
 */

import { namedLeaves, type NetworkValues, taskIn, valuesOf } from "../artifacts/network_values.ts";
import type { Configuration } from "../artifacts/observer.ts";
import { ofNetwork } from "../artifacts/tensor_names.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectObject, expectOptions, expectWhole, shown } from "../base/expect.ts";
import { checkSignature, type Signature, signatureOf } from "../data/signature.ts";
import { expectModel, type Model, taskOf } from "../models/model.ts";
import { bytesOf } from "../trace/dtype.ts";
import type { NetworkVariables } from "../predict/predictor.ts";
import { HostArray } from "../trace/host_array.ts";
import { channelsFirst, inOrder } from "./operand.ts";
import { fold } from "./fold.ts";
import { lower } from "./lower.ts";
import { IMAGES, record } from "./record.ts";
import { modelOf } from "./onnx_file.ts";

/** A protocol buffer has at most 2 GiB; nodes and names take far less than the 16 MiB left. */
const LARGEST = 2 ** 31 - 2 ** 24;

/** Options of {@link exportOnnx}. */
export interface OnnxOptions {
  /**
   * Multiplies batch norms into the weights of the convolution or linear layer before them, which gives the same
   * results with fewer operations. `false` keeps them as operators, and all parameters under their own names and with
   * their own values, to inspect, quantise or train them elsewhere. Default `true`.
   */
  foldBatchNorm?: boolean;
  /** Order of an image's axes: `NCHW`, as in PyTorch, or `NHWC`, as in this library. Default `NCHW`. */
  layout?: "NCHW" | "NHWC";
  /** Number of images of every batch; default any number. */
  batch?: number;
  /** Class names and preprocessing for the file's metadata; default those of the weights. */
  signature?: Signature;
}

/** The values of a network by name: those of `Trainer.snapshot` or `train.loadWeights`. */
export type OnnxWeights = Omit<NetworkValues, "name"> & {
  /** Name in error messages. */
  readonly name?: string;
  /** Configuration of the run, which a snapshot has; the task that it names is checked. */
  readonly configuration?: Configuration;
};

/**
 * Writes a network in evaluation as an ONNX model (IR 8, opset 18, f32). Its input, `images`, is f32
 * `[batch, channels, height, width]`, normalised: (byte / 255 − mean) / std of each channel. Its output, `logits`, is f32
 * `[batch, classes]`. Any network can be exported, one's own too: each op that it records becomes an operator.
 *
 * The metadata has `model`, `task` (`classification` or `regression`) and `layout`, and if they are known, as JSON, `class_names`, `mean`, `std` and `crop`
 * ({@link Signature}).
 *
 * A network that computes in bf16 is exported in f32, with values rounded where it rounds them.
 *
 * @param model The network.
 * @param weights Its parameters and running statistics, filters OHWI: by name, of which those of a snapshot that are
 * not the network's are left out; or as the trees that `init` of the network and one's own training step have, read from
 * the device.
 * @returns The bytes of the file.
 * @throws {LocalgradError} if the weights are of another network, it draws random numbers, it computes something else
 * for another number of images, or the file would have more than 2 GiB, which protocol buffers cannot have.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { exportOnnx } from "@localgrad/localgrad/onnx";
 * import { assert } from "@std/assert";
 *
 * await using device = await devices.open("cpu");
 * const model = models.resnet8();
 * const options = { device, model, method: local.endToEnd(), optimizer: optim.sgd(), batch: 16 };
 * using trainer = await local.trainer(options);
 * const path = await Deno.makeTempFile({ suffix: ".onnx" });
 * await Deno.writeFile(path, exportOnnx(model, await trainer.snapshot()));
 * assert((await Deno.stat(path)).size > 300_000); // 78,000 parameters of four bytes
 * await Deno.remove(path);
 * ```
 */
export function exportOnnx(
  model: Model,
  weights: OnnxWeights | NetworkVariables<HostArray>,
  options: OnnxOptions = {},
): Uint8Array<ArrayBuffer> {
  expectModel(model);
  const values = valuesIn(weights);
  expectOptions("exportOnnx", options, {
    foldBatchNorm: "boolean?",
    layout: "string?",
    batch: "number?",
    signature: "object?",
  });
  const { foldBatchNorm = true, layout = "NCHW", batch, signature = values.signature } = options;
  if (layout !== "NCHW" && layout !== "NHWC") {
    throw new LocalgradError(`exportOnnx: layout is NCHW or NHWC, not ${shown(layout)}`);
  }
  if (batch !== undefined) expectWhole("exportOnnx: batch", batch);
  if (signature !== undefined) checkSignature("exportOnnx", "the signature", signature, model);
  const parameters = valuesOf(model, values);
  refuseLarge(model, parameters);
  const shape = { shape: [0, 0, 0, 0] };
  const order = layout === "NCHW" ? channelsFirst(shape) : inOrder(shape);
  const doc = "f32, normalised: (byte / 255 - mean) / std of each channel";
  const { graph, outputs } = lower(
    record(model, batch),
    parameters,
    (name) => name === IMAGES ? { order, doc } : {},
  );
  fold(graph, outputs.map(({ value }) => value), foldBatchNorm);
  return modelOf(graph.finish(model.name, outputs), metadataOf(model, layout, signature));
}

/** The values of a network by name, however they are given. */
function valuesIn(weights: OnnxWeights | NetworkVariables<HostArray>): NetworkValues {
  expectKind("exportOnnx: the weights", weights, "object");
  if ("params" in weights) {
    expectObject("exportOnnx: the weights", weights, { params: "object", state: "object" });
    const { params, state } = weights;
    const leaves = [params, state].flatMap((tree) => namedLeaves(tree));
    const wrong = leaves.find(([, leaf]) => !(leaf instanceof HostArray));
    if (wrong === undefined) return { name: "the weights", tensors: new Map(leaves) };
    throw new LocalgradError(
      `exportOnnx: ${wrong[0]} is ${shown(wrong[1])}; pass arrays on the host, such as await array.toHost()`,
    );
  }
  expectObject("exportOnnx: the weights", weights, {
    name: "string?",
    tensors: "object",
    skipped: "object?",
    network: "object?",
    configuration: "object?",
    signature: "object?",
    format: "number?",
  });
  const tensors = new Map([...weights.tensors].filter(([name]) => ofNetwork(name)));
  const task = taskIn(weights.configuration ?? {});
  return { name: "the weights", ...(task === undefined ? {} : { network: { task } }), ...weights, tensors };
}

function metadataOf(model: Model, layout: string, signature: Signature | undefined) {
  const { classes, mean, std, crop } = signature === undefined ? {} : signatureOf(signature);
  const all = { model: model.name, task: taskOf(model), layout, class_names: classes, mean, std, crop };
  return Object.entries(all).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: typeof value === "string" ? value : JSON.stringify(value) }]
  );
}

function refuseLarge(model: Model, parameters: ReadonlyMap<string, HostArray>): void {
  const bytes = parameters.values().reduce((sum, { shape }) => sum + bytesOf({ shape, dtype: "f32" }), 0);
  if (bytes <= LARGEST) return;
  throw new LocalgradError(
    `exportOnnx: the parameters of ${model.name} take ${
      (bytes / 2 ** 30).toFixed(1)
    } GiB, and an ONNX file has at most ` +
      `2 GiB; write a safetensors file (train.saveWeights)`,
  );
}
