import { expectKind, expectObject } from "../base/expect.ts";
import { expectLayer, type Layer, type Layers, sequential } from "../nn/layer.ts";

/** A stretch of a network that stays whole when it is cut into modules, such as a residual block. */
export interface Block {
  /** Its place in the network's parameters, such as `layer1.0`. */
  readonly name: string;
  /** What it computes. */
  readonly layer: Layer;
  /** Which stage it belongs to, from 1; schedules by stage need it. Default 1. */
  readonly stage?: number;
  /**
   * A block like it for features of another width: with its own output's, at half the size. Methods that imitate blocks
   * use it; for a block without it they put a convolution in front instead.
   */
  readonly from?: (channels: number) => Layer;
}

/** An image classifier as data: a stem, a list of blocks to cut between, and a head that gives logits. */
export interface Model {
  /** What to call it, such as `resnet32`. */
  readonly name: string;
  /** The images it takes. */
  readonly input: { readonly height: number; readonly width: number; readonly channels: number };
  /** How many classes it tells apart. */
  readonly classes: number;
  /** What comes before the blocks; belongs to the first module. */
  readonly stem: Layers;
  /** The blocks, in order. */
  readonly blocks: readonly Block[];
  /** What makes logits `[batch, classes]` of the last block's output; belongs to the last module. */
  readonly head: Layers;
}

/**
 * The whole network as one layer, for training or judging it without the rest of the library.
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

/** Blocks by name, for `sequential`. */
export function layersOf(blocks: readonly Block[]): Layers {
  expectKind("a model's blocks", blocks, "array");
  for (const block of blocks) expectKind("a block", block, "object");
  return Object.fromEntries(blocks.map(({ name, layer }) => [name, layer]));
}

/** Refuses what is no model. */
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
