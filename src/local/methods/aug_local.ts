import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole } from "../../base/expect.ts";
import { type Block, segments, type Summary } from "../../models/model.ts";
import { batchNorm } from "../../nn/batch_norm.ts";
import { type Layer, type Layers, sequential, shapeAfter } from "../../nn/layer.ts";
import { linear } from "../../nn/linear.ts";
import { globalAveragePooling } from "../../nn/pooling.ts";
import type { Shape } from "../../trace/dtype.ts";
import { isLarge } from "../heads/heads.ts";
import { pixelLogits } from "../heads/pixel_heads.ts";
import { areTokens, refuseEach, summarised } from "../heads/tokens.ts";
import { convUnit, linearUnit } from "../heads/units.ts";
import { type Boundary, classified, type Method } from "../method.ts";
import { jointly, withStem } from "../partition/partition.ts";

/** Options of {@link augLocal}. */
export interface AugLocalOptions {
  /**
   * The number d of blocks in the first auxiliary network; default: a third of the network's blocks, at most 6, as
   * published for ResNet-110.
   */
  depth?: number;
  /** Shrinks the depth along the network, from d at the first boundary to d − τ(d − 1) at the last; default 0.5. */
  tau?: number;
  /** Makes the stem a separate module; default as published: for images of up to 96×96 pixels. */
  stem?: boolean;
  /** The number of last blocks that are trained together, by the network's own head; default as published: d + 1. */
  joint?: number;
}

/**
 * AugLocal (Ma et al., 2024, arXiv 2402.17318): the auxiliary network of a module imitates the rest of the network. It
 * consists of d blocks like those after the module, evenly spaced and including the last, then global average pooling,
 * a linear layer and cross-entropy. Its parameters are its own. d decreases along the network. The last d + 1 blocks are
 * trained together, or as many as `joint` says.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const method = local.augLocal({ depth: 4 });
 * const { modules } = local.setup({ model: models.resnet32(), modules: 16, method, optimizer: optim.sgd() });
 * assertEquals(modules.at(-1)!.name, "layer3.0–layer3.4");
 * ```
 */
export function augLocal(options: AugLocalOptions = {}): Method {
  expectOptions("augLocal", options, {
    depth: "number?",
    tau: "number?",
    stem: "boolean?",
    joint: "number?",
  });
  const { depth, tau = 0.5, stem, joint } = options;
  if (depth !== undefined) expectWhole("augLocal: depth", depth);
  if (joint !== undefined) expectWhole("augLocal: joint", joint);
  if (!(tau >= 0 && tau <= 1)) {
    throw new LocalgradError(`augLocal: tau must be between 0 and 1, not ${tau}`);
  }
  const depthOf = (blocks: number) => depth ?? Math.max(1, Math.min(6, Math.floor(blocks / 3)));
  return {
    name: "augLocal",
    options: {
      ...(depth === undefined ? {} : { depth }),
      tau,
      ...(stem === undefined ? {} : { stem }),
      ...(joint === undefined ? {} : { joint }),
    },
    recut(model, cut) {
      const full = depthOf(model.blocks.length);
      const own = joint === undefined
        ? jointly(model, cut, full + 1, { who: `augLocal: with depth ${full}`, option: "depth" })
        : jointly(model, cut, joint, { who: "augLocal:", option: "joint" });
      return stem ?? !isLarge(model.input) ? withStem(model, own) : own;
    },
    auxiliary(boundary) {
      const { index, count, model } = boundary;
      const full = depthOf(model.blocks.length);
      const shrunk = count === 1 ? 0 : tau * index / (count - 1);
      return classified(
        network(boundary, Math.max(1, roundHalfToEven(full * (1 - shrunk) + shrunk))),
      );
    },
  };
}

/** Makes an auxiliary network that imitates `depth` of the blocks after a boundary, with a head. */
function network({ features, behind, model }: Boundary, depth: number): Layer {
  const layers: { [name: string]: Layers[string] } = {};
  let shape = features;
  refuseEach("augLocal", model.summary);
  const usual = channelsBefore(behind, features);
  const before = model.blocks.length - behind.length;
  for (const [i, index] of chosen(before, behind.length, depth).entries()) {
    const layer = adapted(at(behind, index), at(usual, index), shape);
    layers[`blocks.${i}`] = layer;
    shape = shapeAfter(layer, shape);
  }
  const channels = channelsOf(shape);
  return sequential({
    ...layers,
    ...(segments(model) ? {} : ending(shape, model.summary)),
    ...(depth <= 1 ? { bn: batchNorm({ channels }) } : {}),
    ...(segments(model)
      ? { logits: pixelLogits(model, shape) }
      : { fc: linear({ in: channels, out: model.classes }) }),
  });
}

/** Makes the layers that turn features into a vector. */
function ending(shape: Shape, summary: Summary | undefined): Layers {
  if (areTokens(shape)) return summarised(shape, summary);
  return shape.length === 1 ? {} : { pool: globalAveragePooling() };
}

/**
 * Chooses the blocks to imitate, from 0, of `after` blocks that follow `before` others. Positions are rounded as
 * positions in the whole network, as in the published code: halves go to the block whose number there is even.
 */
function chosen(before: number, after: number, depth: number): number[] {
  const count = Math.min(depth, after);
  return Array.from(
    { length: count },
    (_, i) => roundHalfToEven(before + after / count * (i + 1)) - before - 1,
  );
}

/** Returns the number of channels that each of consecutive blocks takes. */
function channelsBefore(blocks: readonly Block[], features: Shape): number[] {
  let shape = features;
  return blocks.map(({ layer }) => {
    const channels = channelsOf(shape);
    shape = shapeAfter(layer, shape);
    return channels;
  });
}

function channelsOf(features: Shape): number {
  return at(features, features.length - 1);
}

/**
 * Makes a block like this one for another number of channels: by the block's own `from`, else after a
 * convolution, or a linear layer for vectors and tokens.
 */
function adapted({ layer, from }: Block, usual: number, features: Shape): Layer {
  const channels = channelsOf(features);
  if (channels === usual) return layer;
  const adapt = () =>
    features.length < 3
      ? linearUnit(channels, usual)
      : convUnit({ in: channels, out: usual, window: 1, strides: 2 });
  return from?.(channels) ?? sequential({ adapt: adapt(), block: layer });
}

/** Rounds to the nearest integer, halves to even, as Python's `round` in the published code. */
function roundHalfToEven(value: number): number {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}
