import { expectKind, expectObject } from "../base/expect.ts";
import { expectLayer, type Layer, type Layers, sequential } from "../nn/layer.ts";

/** A part of a network that is never cut, such as a residual block. */
export interface Block {
  /** Its path in the network's parameters, such as `layer1.0`. */
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

/** An image classifier as data: a stem, a list of blocks between which it can be cut, and a head that gives logits. */
export interface Model {
  /** Its name, such as `resnet32`. */
  readonly name: string;
  /** The shape of its images. */
  readonly input: { readonly height: number; readonly width: number; readonly channels: number };
  /** The number of classes. */
  readonly classes: number;
  /** The layers before the blocks; they belong to the first module. */
  readonly stem: Layers;
  /** The blocks, in order. */
  readonly blocks: readonly Block[];
  /** The layers that turn the last block's output into logits `[batch, classes]`; they belong to the last module. */
  readonly head: Layers;
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
  return sequential({ ...model.stem, ...layersOf(model.blocks), ...model.head });
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
    stem: "object",
    blocks: "array",
    head: "object",
  });
  expectObject("a model's input", model.input, { height: "number", width: "number", channels: "number" });
  for (const block of model.blocks) {
    expectKind("a block", block, "object");
    const { layer, name } = block;
    expectKind("the name of a block", name, "string");
    expectLayer(`block ${name}`, layer);
  }
}
