import { valuesOf } from "../artifacts/network_values.ts";
import { readRun } from "../artifacts/run_folder.ts";
import { loadWeights, type Weights, weightsOf } from "../artifacts/weights.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions } from "../base/expect.ts";
import { exists, look } from "../base/files.ts";
import type { Precision } from "../compile/plan.ts";
import type { PictureDecoder } from "../data/decoder.ts";
import { checkSignature, type Signature } from "../data/signature.ts";
import { precisionOn } from "../local/precision.ts";
import { type Model, network } from "../models/model.ts";
import { withEncodersOf } from "../models/encoders.ts";
import { modelNamed, modelNames } from "../models/named.ts";
import { Device, type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import type { HostArray } from "../trace/host_array.ts";
import { treeFlatten, treeUnflatten } from "../trace/tree.ts";
import type { Initial } from "../nn/initial.ts";
import type { Named } from "../nn/named.ts";
import { Predictor } from "./predictor.ts";

/** Options of {@link load}. */
export interface PredictorOptions {
  /** The device to predict on. */
  device: Device;
  /** Decodes pictures: `pictures()` of the sub-path. The predictor disposes of it. Without one it takes pixels. */
  decoder?: PictureDecoder;
  /** The checkpoint of a run; default best, or last where the run was never evaluated. */
  checkpoint?: "best" | "last";
  /** The network, if it is not one of the library's, or the file does not name it. */
  model?: Model;
  /** Class names and preprocessing, such as a data set, in place of those in the file. */
  signature?: Signature;
  /** Most images that are computed at once; default 32. */
  batch?: number;
  /** Precision of the arithmetic; default that of the device. */
  precision?: Precision;
  /** Called with each thing that the file lacks or that was converted; by default prints a warning. */
  onNote?: (text: string) => void;
}

/**
 * Loads a network to predict with: from the folder of a run, from a file that `train.saveWeights` or `deno task export`
 * wrote, or from one of PyTorch, for which `model` and `signature` have to be given.
 *
 * @throws {LocalgradError} if there is no run or file, or it is damaged or of another network.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim, predict } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const run = await Deno.makeTempDir();
 * await using device = await devices.open("cpu");
 * const images = data.shapes({ train: 32, test: 8 });
 * {
 *   const options = { device, model: models.resnet8(), method: local.endToEnd(), optimizer: optim.sgd(), batch: 16 };
 *   using trainer = await local.trainer(options);
 *   await trainer.fit(images, { epochs: 1, checkpoint: run, observers: [] });
 * }
 * await using predictor = await predict.load(run, { device });
 * const predictions = await predictor.predict(images.test);
 * assertEquals(predictions.length, 8);
 * const { best, top, probabilities } = predictions[0];
 * assertEquals(best.name, images.classes[best.index]);
 * assertEquals([best, 5], [top[0], top.length]);
 * assertEquals(best.probability, Math.max(...probabilities));
 * await Deno.remove(run, { recursive: true });
 * ```
 */
export async function load(path: string, options: PredictorOptions): Promise<Predictor> {
  expectKind("predict.load: the path", path, "string");
  checkOptions(options);
  return predictorOf(await readNetwork(path, options), options);
}

/** Reads the weights of a run's folder, or of a file. */
export async function readNetwork(
  path: string,
  { checkpoint, onNote = console.warn }: Pick<PredictorOptions, "checkpoint" | "onNote">,
): Promise<Weights> {
  const info = await look(path);
  if (info === undefined) {
    throw new LocalgradError(
      `predict: there is nothing at ${path}; give the folder of a run, or a .safetensors file of weights`,
    );
  }
  if (info.isFile || path.endsWith(".safetensors") || path.endsWith(".json")) {
    if (checkpoint === undefined) return await loadWeights(path);
    throw new LocalgradError(`predict: ${path} is a file; a checkpoint is chosen in the folder of a run`);
  }
  const kind = checkpoint ?? (await exists(`${path}/best.safetensors`) ? "best" : "last");
  if (kind === "last" && checkpoint === undefined && await exists(`${path}/last.safetensors`)) {
    onNote(`${path} has no best checkpoint; the last one is used`);
  }
  return weightsOf(await readRun(path, kind), path);
}

/** Makes a predictor of weights. */
export function predictorOf(weights: Weights, options: PredictorOptions): Predictor {
  const { device, decoder, batch = 32, precision, onNote = console.warn } = options;
  const signature = options.signature ?? weights.signature;
  const model = options.model ?? modelOf(weights, signature);
  if (signature !== undefined) {
    checkSignature("predict", `the signature of ${weights.name}`, signature, model);
  }
  const values = valuesOf(model, weights);
  for (const text of weights.notes) onNote(text);
  const { classNames } = weights;
  if (signature === undefined && classNames === undefined && !("features" in model.input)) {
    onNote(
      `${weights.name} has neither class names nor preprocessing, like files of earlier versions and of PyTorch: ` +
        `classes are numbered, and only normalised f32 images can be predicted; pass signature, such as a data set`,
    );
  }
  const { params, state } = network(model);
  const variables = { params: filled(device, params, values), state: filled(device, state, values) };
  return new Predictor({
    device,
    model,
    precision: precisionOn(device.backend.target, precision),
    variables: () => variables,
    signature,
    classNames,
    batch,
    decoder,
    free: () => disposeTree(variables),
  });
}

function checkOptions(options: PredictorOptions): void {
  expectOptions("predict.load", options, {
    device: "object",
    decoder: "object?",
    checkpoint: "string?",
    model: "object?",
    signature: "object?",
    batch: "number?",
    precision: "string?",
    onNote: "function?",
  });
  if (!(options.device instanceof Device)) {
    throw new LocalgradError("predict.load: the device must be of devices.open()");
  }
}

const REMEDY =
  "use it in a script, which can make the network: pass that as model, as in predict.load(path, { device, model }), " +
  "or to exportOnnx";

/** The library's network that a file names. */
export function modelOf({ name, network, tensors }: Weights, signature: Signature | undefined): Model {
  if (network === undefined) {
    throw new LocalgradError(`${name} does not say which network it is of; ${REMEDY}`);
  }
  const { model, classes } = network;
  if (!modelNames.some((known) => known === model)) {
    throw new LocalgradError(
      `${name} is of ${model}, which is not a network that localgrad makes by its name; ${REMEDY}`,
    );
  }
  const plain = modelNamed(model, {
    classes,
    ...(signature === undefined ? {} : { size: [signature.height, signature.width] }),
  });
  return withEncodersOf(plain, tensors.keys());
}

/** The values of a tree of parameters or statistics, on a device. */
function filled(
  device: Device,
  tree: Named<Initial>,
  values: ReadonlyMap<string, HostArray>,
): Named<DeviceArray> {
  const { paths, structure } = treeFlatten<Initial>(tree);
  const arrays = paths.map((path) => values.get(path) ?? missing(path));
  return device.put(treeUnflatten(structure, arrays) as Named<HostArray>);
}

function missing(path: string): never {
  throw new Error(`valuesOf() left out ${path}`);
}
