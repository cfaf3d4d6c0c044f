import { LocalgradError } from "../base/errors.ts";
import { expectObject, expectOptions, shown } from "../base/expect.ts";
import { formatAval, type Shape, sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import { checkAugmentation } from "./augmentation/augmentation.ts";
import type { Augmentation } from "./images.ts";

/** Inputs with labels in memory on the host, which are used as they are. */
export interface LabelledArrays {
  /** The inputs `[count, …shape]`, row-major. */
  readonly x: Float32Array;
  /**
   * The class of each input, `[count]`, or of each of its tokens, `[count, length]`; or its values, of a regression,
   * `[count, outputs]`.
   */
  readonly labels: Int32Array | Float32Array;
  /** Number of inputs. */
  readonly count: number;
}

/** A data set of vectors or of images in f32, of any range: with classes, or with values for a regression. */
export interface ArrayDataset {
  /** Its name in messages and reports. */
  readonly name: string;
  /** The shape of an input: `[features]`, or `[height, width, channels]`. */
  readonly shape: Shape;
  /** The name of each class; absent if the labels are the values of a regression. */
  readonly classes?: readonly string[];
  /** Augmentation of training images; default none. */
  readonly augmentation?: Augmentation;
  /** Training inputs. */
  readonly train: LabelledArrays;
  /** Test inputs, if any. */
  readonly test?: LabelledArrays;
}

/** Inputs and labels, as {@link arrays} takes them. */
export interface ArrayInputs {
  /** The inputs, f32: `[count, …shape]`, or all values row by row. */
  x: HostArray | Float32Array;
  /**
   * Classes from 0: integers `[count]`, or `[count, length]` of tokens; or the values of a regression: f32 `[count]` or
   * `[count, outputs]`, or all row by row.
   */
  labels: HostArray | Float32Array | Int32Array | Uint32Array | Uint8Array;
}

/** Options of {@link arrays}. */
export interface ArraysOptions extends ArrayInputs {
  /** Inputs to evaluate on; default none. */
  test?: ArrayInputs;
  /** The shape of an input; default that of `x` without its first axis, or vectors with as many values as divide `x`. */
  shape?: Shape;
  /** The name of each class; default their numbers. */
  classes?: readonly string[];
  /** Augmentation of training images; default none. */
  augmentation?: Augmentation;
  /** Its name in messages and reports; default `arrays`. */
  name?: string;
}

/**
 * Makes a data set of typed arrays: vectors `[count, features]` or images `[count, height, width, channels]` (NHWC) in
 * f32, which are used as they are, in whatever range. Integer labels are classes, f32 labels the values of a regression.
 * Nothing is copied but integer labels that are not i32.
 *
 * @throws {LocalgradError} if shapes, counts or types do not fit each other, a value is not finite, or a label is no
 * class.
 *
 * @example
 * ```ts
 * import { data, HostArray } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const rows = new HostArray(Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]);
 * const prices = data.arrays({ name: "prices", x: rows, labels: Float32Array.of(0.5, 1.5, 2.5) });
 * assertEquals([prices.shape, prices.train.count, prices.classes], [[2], 3, undefined]);
 * const kinds = data.arrays({ x: rows, labels: Int32Array.of(0, 1, 0), classes: ["cheap", "dear"] });
 * assertEquals(kinds.classes, ["cheap", "dear"]);
 * ```
 */
export function arrays(options: ArraysOptions): ArrayDataset {
  expectOptions("arrays", options, {
    x: "any",
    labels: "any",
    test: "object?",
    shape: "array?",
    classes: "array?",
    augmentation: "object?",
    name: "string?",
  });
  const { x, labels, test, name = "arrays", augmentation } = options;
  const train = labelled("arrays", { x, labels }, options.shape);
  const { shape } = train;
  if (test !== undefined) expectOptions("arrays: test", test, { x: "any", labels: "any" });
  const tested = test && labelled("arrays: test", test, shape);
  const classes = options.classes ?? numbered([train.part.labels, tested?.part.labels]);
  const dataset: ArrayDataset = {
    name,
    shape,
    ...(classes === undefined ? {} : { classes }),
    ...(augmentation === undefined ? {} : { augmentation }),
    train: train.part,
    ...(tested === undefined ? {} : { test: tested.part }),
  };
  checkArrays("arrays", dataset, tested === undefined ? ["train"] : ["train", "test"]);
  return dataset;
}

/** Inputs and labels as a part of a data set, and the shape of an input. `who` begins messages. */
export function labelled(
  who: string,
  { x, labels }: ArrayInputs,
  given?: Shape,
): { part: LabelledArrays; shape: Shape } {
  const values = x instanceof HostArray ? x.data : x;
  if (!(values instanceof Float32Array)) {
    const bytes = values instanceof Uint8Array
      ? "; bytes are images of a data set with mean and std, see data.ImageDataset"
      : "";
    throw new LocalgradError(`${who}: x is a Float32Array or an f32 HostArray, not ${kindOf(x)}${bytes}`);
  }
  const own = labels instanceof HostArray ? labels.data : labels;
  if (
    !(own instanceof Float32Array || own instanceof Int32Array || own instanceof Uint32Array ||
      own instanceof Uint8Array)
  ) {
    throw new LocalgradError(
      `${who}: labels are integers, such as an Int32Array, or the f32 values of a regression, not ${
        kindOf(labels)
      }`,
    );
  }
  const count = countOf({ x, labels }, given);
  const shape = given ?? (x instanceof HostArray ? x.shape.slice(1) : [values.length / count]);
  const part = {
    x: values,
    labels: own instanceof Float32Array || own instanceof Int32Array ? own : Int32Array.from(own),
    count,
  };
  return { part, shape: shape.length === 0 ? [1] : shape };
}

/** The number of inputs, by whichever array has a shape. */
function countOf({ x, labels }: ArrayInputs, shape: Shape | undefined): number {
  if (x instanceof HostArray) return x.shape[0] ?? 0;
  if (shape !== undefined) return x.length / sizeOf(shape);
  return labels instanceof HostArray ? labels.shape[0] ?? 0 : labels.length;
}

function kindOf(value: unknown): string {
  return value instanceof HostArray ? formatAval(value) : shown(value);
}

/** The numbers of classes as names; undefined for the values of a regression. */
function numbered(labels: readonly (LabelledArrays["labels"] | undefined)[]): string[] | undefined {
  if (labels[0] instanceof Float32Array) return undefined;
  let highest = 0;
  for (const each of labels) for (const label of each ?? []) highest = Math.max(highest, label);
  return Array.from({ length: highest + 1 }, (_, label) => String(label));
}

/** Refuses a data set of arrays that contradicts itself. `who` begins the message. */
export function checkArrays(who: string, dataset: ArrayDataset, parts: readonly ("train" | "test")[]): void {
  expectObject(`${who}: the data set`, dataset, {
    name: "string",
    shape: "array",
    classes: "array?",
    augmentation: "object?",
    train: "object",
    test: "object?",
  });
  const { name, shape, classes, augmentation } = dataset;
  if (![1, 3].includes(shape.length) || shape.some((extent) => !(Number.isInteger(extent) && extent > 0))) {
    throw new LocalgradError(
      `${who}: ${name} has inputs of [${shape}]; they are vectors [features] or images [height, width, channels]`,
    );
  }
  if (augmentation !== undefined) {
    const [height = 0, width, channels = 0] = shape;
    if (width === undefined) {
      throw new LocalgradError(`${who}: ${name} has vectors, which cannot be cropped and mirrored`);
    }
    checkAugmentation(`${who}: the augmentation of ${name}`, augmentation, {
      height,
      width,
      channels,
      bytes: false,
    });
  }
  for (const part of parts) {
    const fault = partFault(dataset[part], sizeOf(shape), classes?.length);
    if (fault !== undefined) throw new LocalgradError(`${who}: the ${part} part of ${name} ${fault}`);
  }
}

/**
 * The fault of a part whose inputs have `size` values and whose labels are one of `classes`, or of a regression if that is
 * undefined; undefined if there is none.
 */
export function partFault(
  part: LabelledArrays | undefined,
  size: number,
  classes: number | undefined,
): string | undefined {
  if (part === undefined) return "is missing";
  const { x, labels, count } = part;
  if (!Number.isInteger(count) || count < 1) return `has ${count} inputs; it needs at least one`;
  if (!(x instanceof Float32Array)) return `has x as ${shown(x)}; inputs are a Float32Array`;
  if (x.length !== count * size) {
    return `has ${x.length} values of x; ${count} inputs of ${size} are ${count * size}`;
  }
  const bad = x.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) return `has ${x[bad]} in input ${Math.floor(bad / size)}; inputs are finite`;
  return labelsFault(labels, count, classes);
}

/** The fault of the labels of `count` inputs; see {@link partFault}. */
export function labelsFault(
  labels: LabelledArrays["labels"],
  count: number,
  classes: number | undefined,
): string | undefined {
  if (classes === undefined) {
    if (!(labels instanceof Float32Array)) {
      return `has labels as ${shown(labels)}; those of a regression are a Float32Array`;
    }
    const outputs = labels.length / count;
    if (!Number.isInteger(outputs) || outputs < 1) {
      return `has ${count} inputs and ${labels.length} labels; labels are as many, or a multiple`;
    }
    const bad = labels.findIndex((value) => !Number.isFinite(value));
    return bad < 0 ? undefined : `has ${labels[bad]} as label of input ${Math.floor(bad / outputs)}`;
  }
  if (!(labels instanceof Int32Array)) {
    return `has labels as ${shown(labels)}; classes are an Int32Array`;
  }
  const each = labels.length / count;
  if (!Number.isInteger(each) || each < 1) return `has ${count} inputs and ${labels.length} labels`;
  const wrong = labels.findIndex((label) => !(label >= 0 && label < classes));
  if (wrong < 0) return undefined;
  return `is mislabelled: input ${Math.floor(wrong / each)} has class ${
    labels[wrong]
  }; ${classes} classes are 0 to ${classes - 1}`;
}
