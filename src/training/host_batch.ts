import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions, shown } from "../base/expect.ts";
import type { Batch } from "../local/method.ts";
import type { Share } from "../local/processes/shares.ts";
import {
  classifiesTokens,
  IGNORED,
  type ImageInput,
  labelsAval,
  type Model,
  regresses,
  segments,
} from "../models/model.ts";
import { DeviceArray } from "../runtime/arrays.ts";
import { type Aval, formatAval, sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";

/** The caller's own batch, for `Trainer.step`. */
export interface HostBatch {
  /**
   * The network's input, f32: normalised images `[batch, height, width, channels]`, vectors `[batch, features]`, or tokens
   * `[batch, length]`.
   */
  x: HostArray | DeviceArray;
  /**
   * Class of each image: i32 or u32 `[batch]`; of each pixel, 255 if it has none, `[batch, height, width]`; of
   * each token `[batch, length]`; of a regression its values: f32 `[batch]` or `[batch, outputs]`.
   */
  labels: HostArray | DeviceArray | Int32Array | Uint32Array | Float32Array;
  /** The same images in [0, 1]; required by methods that reconstruct them. */
  images?: HostArray | DeviceArray;
}

/** Result of `Trainer.step`. */
export interface StepReport {
  /** The loss of each module. */
  readonly losses: readonly number[];
  /** Fraction of the batch, or of its pixels or tokens, that the network's own head classified correctly; undefined for a regression. */
  readonly accuracy?: number;
  /** Mean squared error of the batch, of a regression. */
  readonly meanSquaredError?: number;
  /** The norm of each module's gradients before they were clipped, if the optimizer clips by norm. */
  readonly gradientNorms?: readonly number[];
}

/** A {@link HostBatch} within a traced step. */
export type GivenBatch = Pick<Batch, "x" | "labels"> & { readonly images?: Tensor };

/** Refuses a batch that is not one, or has labels outside of the classes. Labels on a device are read. */
export async function checkBatch(batch: HostBatch, model: Model): Promise<void> {
  expectOptions("step: the batch", batch, { x: "object", labels: "any", images: "object?" });
  for (const array of [batch.x, batch.images ?? batch.x]) {
    if (array instanceof DeviceArray || array instanceof HostArray) continue;
    throw new LocalgradError(`step: images are a HostArray or DeviceArray, not ${shown(array)}`);
  }
  checkInputs(batch.x, model);
  await checkLabels(batch.labels, batch.x.shape[0] ?? 0, model);
}

/** Refuses inputs of another shape than the network's, and bytes. */
function checkInputs(x: Aval, model: Model): void {
  const { input, name } = model;
  if (!("features" in input)) return checkImages(x, input);
  if (x.dtype === "f32" && x.shape.length === 2 && x.shape[1] === input.features) return;
  throw new LocalgradError(`step: x is ${formatAval(x)}; ${name} takes f32[batch,${input.features}]`);
}

/** Refuses images as other libraries order them, and bytes. */
function checkImages(x: Aval, { height, width, channels }: ImageInput): void {
  const [batch, ...image] = x.shape;
  const usual = `images are [${batch},${height},${width},${channels}] (NHWC), normalised f32`;
  if (image.join() === `${channels},${height},${width}` && channels !== width) {
    throw new LocalgradError(
      `step: x is ${
        formatAval(x)
      }, which is NCHW; ${usual}: use x.transpose(0, 2, 3, 1) in a traced function`,
    );
  }
  if (x.dtype === "u8") {
    throw new LocalgradError(
      `step: x is ${
        formatAval(x)
      }; ${usual}: subtract the mean of x / 255 and divide by the standard deviation`,
    );
  }
}

/** `oneHot` would turn a label outside of the classes into a row without a target. */
async function checkLabels(labels: HostBatch["labels"], count: number, model: Model): Promise<void> {
  const values = labels instanceof DeviceArray
    ? await labels.read()
    : labels instanceof HostArray
    ? labels.data
    : labels;
  expectKind("step: the labels", values, "array");
  const { classes, name } = model;
  if (regresses(model)) {
    if (!(values instanceof Float32Array) || values.length !== count * classes) {
      throw new LocalgradError(
        `step: the labels of the regression ${name} are f32[${count},${classes}], not ${values.length} values as ` +
          shown(values),
      );
    }
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad < 0) return;
    throw new LocalgradError(
      `step: input ${Math.floor(bad / classes)} of the batch has label ${values[bad]}`,
    );
  }
  if (values instanceof Float32Array) {
    throw new LocalgradError(
      `step: the labels are f32, the values of a regression, but ${name} is a classifier; make it with ` +
        'task: "regression", or pass classes as an Int32Array',
    );
  }
  const [isPixels, isTokens] = [segments(model), classifiesTokens(model)];
  const positions = sizeOf(labelsAval(model, 1).shape);
  const wrong = values.findIndex((label) =>
    !((label >= 0 && label < classes) || (isPixels && label === IGNORED))
  );
  if (wrong < 0) {
    if (Array.isArray(values)) {
      throw new LocalgradError("step: the labels are a plain list; pass Int32Array.from(labels)");
    }
    if (values.length === count * positions) return;
    const inputs = `the ${count} ${isTokens ? "inputs" : "images"} of the batch`;
    const what = isPixels ? "pixels" : "tokens";
    throw new LocalgradError(
      `step: ${values.length} labels were given for ${
        isPixels || isTokens ? `the ${count * positions} ${what} of ${inputs}` : inputs
      }`,
    );
  }
  throw new LocalgradError(
    `step: ${isTokens ? "input" : "image"} ${Math.floor(wrong / positions)} of the batch has ${
      isPixels ? "a pixel with " : isTokens ? "a token with " : ""
    }label ${values[wrong]}; ${classes} classes are 0 to ${classes - 1}${
      isPixels ? `, and ${IGNORED} is none` : ""
    }`,
  );
}

/** A process's share of a batch that all processes are given. */
export function sharedBatch(batch: GivenBatch, share: Share | undefined): GivenBatch {
  if (share === undefined) return batch;
  const own = (x: Tensor) => rowsOf(x, share);
  const { x, labels, images } = batch;
  return {
    x: own(x),
    labels: own(labelsByInput(labels, x)),
    ...(images === undefined ? {} : { images: own(images) }),
  };
}

/** The rows of a share. */
export function rowsOf(x: Tensor, { from, to }: Share): Tensor {
  const rest = x.shape.slice(1);
  return x.slice([from, ...rest.map(() => 0)], [to, ...rest]);
}

/** The batch that a method sees. Without `images`, a method that reads them raises an error. */
export function methodBatch({ x, labels: given, images }: GivenBatch): Batch {
  const labels = labelsByInput(given, x);
  if (images !== undefined) return { x, labels, images };
  return {
    x,
    labels,
    get images(): never {
      throw new LocalgradError(
        "step: this method reconstructs images; pass them, in [0, 1], as `images` of the batch",
      );
    },
  };
}

/** Labels with an axis of inputs first: of a regression all others are outputs, of pixels and tokens those of the input. */
function labelsByInput(labels: Tensor, x: Tensor): Tensor {
  const [batch = 0, ...extents] = x.shape;
  if (labels.dtype === "f32") return labels.reshape(batch, -1);
  return labels.size === batch ? labels : labels.reshape(batch, ...extents.slice(0, 2));
}
