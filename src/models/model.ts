import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectObject, shown } from "../base/expect.ts";
import { expectLayer, type Layer, type Layers, randomIn } from "../nn/layer.ts";
import type { Aval, Shape } from "../trace/dtype.ts";
import { type Context, expectContexts, inContext } from "./context.ts";

/** A part of a network that is never cut, such as a residual block. */
export interface Block {
  /**
   * Its path in the network's parameters, such as `layer1.0`; or `features.0+1`, whose layer has the parameters of both
   * `features.0` and `features.1`, under `0` and `1`.
   */
  readonly name: string;
  /** The layer it applies. */
  readonly layer: Layer;
  /** The stage it belongs to, from 1; schedules by stage need it. Default 1. */
  readonly stage?: number;
  /**
   * Makes a similar block for inputs with another number of channels; its output has this block's channels, at half the
   * input's size. Methods that imitate blocks use it; where a block lacks it, they prepend a convolution instead.
   */
  readonly from?: (channels: number) => Layer;
}

/** The shape of the images that a network takes. */
export interface ImageInput {
  /** Rows. */
  readonly height: number;
  /** Columns. */
  readonly width: number;
  /** Values per pixel. */
  readonly channels: number;
}

/** The shape of the vectors that a network takes, such as rows of a table. */
export interface VectorInput {
  /** Values per vector. */
  readonly features: number;
}

/**
 * What stands for tokens `[length, width]` in local classifiers: their mean; the first, which is the class token of vision
 * transformers; or `each` token for itself, in networks that classify every token, such as language models.
 */
export type Summary = "mean" | "first" | "each";

/** The meaning of a network's outputs: logits of classes, for an image or for each of its pixels, or values. */
export type Task = "classification" | "regression" | "segmentation";

/**
 * A network as data: a stem, a list of blocks between which it can be cut, and a head that gives logits, of an image or of
 * each pixel, or the values of a regression.
 */
export interface Model {
  /** Its name, such as `resnet32`. */
  readonly name: string;
  /** The shape of its images or vectors. */
  readonly input: ImageInput | VectorInput;
  /** The number of outputs: of classes, or of the values of a regression. */
  readonly classes: number;
  /** The meaning of its outputs; default `classification`. */
  readonly task?: Task;
  /** The layers before the blocks; they belong to the first module. */
  readonly stem: Layers;
  /** The blocks, in order. */
  readonly blocks: readonly Block[];
  /**
   * The layers that turn the last block's output into outputs `[batch, classes]`, or `[batch, height, width, classes]` of a
   * segmentation, at the image's size, or `[batch, length, classes]` of each token; they belong to the last module.
   */
  readonly head: Layers;
  /**
   * What stands for tokens in local classifiers, where blocks give tokens; default `mean`. With `each` the network takes
   * tokens, `input: { features: length }`, and gives logits of every token, and an input's labels are `[length]`.
   */
  readonly summary?: Summary;
  /** What is added to the input of blocks; default nothing. */
  readonly contexts?: readonly Context[];
}

/**
 * The whole network as one layer, to train or evaluate it without the rest of the library.
 *
 * @example
 * ```ts
 * import { models } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const net = models.network(models.resnet8({ classes: 10 }));
 * assertEquals(Object.keys(net.params), ["conv1", "bn1", "layer1", "layer2", "layer3", "fc"]);
 * ```
 */
export function network(model: Model): Layer {
  expectModel(model);
  return inContext({ ...model.stem, ...layersOf(model.blocks), ...model.head }, model.contexts ?? []);
}

/** The shape of one input of a network: `[height, width, channels]` or `[features]`. */
export function inputShape({ input }: Pick<Model, "input">): Shape {
  return "features" in input ? [input.features] : [input.height, input.width, input.channels];
}

/** The shape of the images of a network; refuses one that takes vectors. `who` begins the message. */
export function imageInput(who: string, { name, input }: Pick<Model, "name" | "input">): ImageInput {
  if (!("features" in input)) return input;
  throw new LocalgradError(`${who}: ${name} takes vectors of ${input.features} values, not images`);
}

/** The label of pixels that belong to no class, in label maps of a byte each. */
export const IGNORED = 255;

const TASKS: readonly Task[] = ["classification", "regression", "segmentation"];

/** True if a value names a task. */
export function isTask(value: unknown): value is Task {
  return TASKS.some((task) => task === value);
}

/** The meaning of a network's outputs. */
export function taskOf({ task = "classification" }: Pick<Model, "task">): Task {
  return task;
}

/** True if the outputs of a network are the values of a regression. */
export function regresses(model: Pick<Model, "task">): boolean {
  return taskOf(model) === "regression";
}

/** True if a network labels each pixel of an image. */
export function segments(model: Pick<Model, "task">): boolean {
  return taskOf(model) === "segmentation";
}

/** True if a network classifies each token of an input, as a language model does. */
export function classifiesTokens({ summary }: Pick<Model, "summary">): boolean {
  return summary === "each";
}

/** True if an input has a label for each of its positions: pixels of a segmentation, or tokens. */
export function isDense(model: Pick<Model, "task" | "summary">): boolean {
  return segments(model) || classifiesTokens(model);
}

/** What the shape of a network's outputs depends on. */
type Outputs = Pick<Model, "name" | "task" | "input" | "classes" | "summary">;

/**
 * The shape of the outputs for one input: `[classes]`, `[height, width, classes]` of a segmentation, or `[length, classes]` of
 * tokens.
 */
export function outputShape(model: Outputs): Shape {
  if (classifiesTokens(model)) return [...inputShape(model), model.classes];
  if (!segments(model)) return [model.classes];
  const { height, width } = imageInput("segmentation", model);
  return [height, width, model.classes];
}

/**
 * The labels of `count` inputs: i32 `[count]`, `[count, height, width]` of a segmentation, `[count, length]` of tokens; f32
 * `[count, outputs]` of a regression.
 */
export function labelsAval(model: Outputs, count: number): Aval {
  if (regresses(model)) return { shape: [count, model.classes], dtype: "f32" };
  return { shape: [count, ...outputShape(model).slice(0, -1)], dtype: "i32" };
}

/** True if training a network needs random keys: a layer of it is random, such as dropout. */
export function isRandom({ stem, blocks, head }: Pick<Model, "stem" | "blocks" | "head">): boolean {
  return randomIn({ ...stem, ...layersOf(blocks), ...head }) > 0;
}

/** Returns blocks by name, for `sequential`. */
export function layersOf(blocks: readonly Block[]): Layers {
  expectKind("a model's blocks", blocks, "array");
  for (const block of blocks) expectKind("a block", block, "object");
  return Object.fromEntries(blocks.map(({ name, layer }) => [name, layer]));
}

/** Refuses a value that is not a model. */
export function expectModel(model: Model): void {
  expectObject("a model", model, {
    name: "string",
    input: "object",
    classes: "number",
    task: "string?",
    stem: "object",
    blocks: "array",
    head: "object",
    summary: "string?",
    contexts: "array?",
  });
  const { input, task, summary } = model;
  if ("features" in input) expectObject("a model's input", input, { features: "number" });
  else expectObject("a model's input", input, { height: "number", width: "number", channels: "number" });
  if (task !== undefined && !isTask(task)) {
    throw new LocalgradError(`a model's task is ${TASKS.join(", ")}, not ${shown(task)}`);
  }
  if (summary !== undefined && !["mean", "first", "each"].includes(summary)) {
    throw new LocalgradError(`a model's summary is "mean", "first" or "each", not ${shown(summary)}`);
  }
  const takesTokens = "features" in input && input.features >= 2;
  if (classifiesTokens(model) && !(takesTokens && taskOf(model) === "classification")) {
    throw new LocalgradError(
      'a model with summary "each" classifies tokens: its input is { features: length }, with a length of at least 2, and ' +
        'its task "classification"',
    );
  }
  for (const block of model.blocks) {
    expectKind("a block", block, "object");
    const { layer, name } = block;
    expectKind("the name of a block", name, "string");
    expectLayer(`block ${name}`, layer);
  }
  if (model.contexts !== undefined) expectContexts(model.contexts, model.blocks.map(({ name }) => name));
}
