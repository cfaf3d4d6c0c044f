import { LocalgradError } from "../../base/errors.ts";
import { expectObject, expectWhole } from "../../base/expect.ts";
import type { Block } from "../../models/model.ts";
import { batchNorm } from "../../nn/batch_norm.ts";
import { type Layer, type Layers, sequential, shapeAfter } from "../../nn/layer.ts";
import { linear } from "../../nn/linear.ts";
import { globalAveragePooling } from "../../nn/pooling.ts";
import type { Shape } from "../../trace/dtype.ts";
import { isLarge } from "../heads/heads.ts";
import { convUnit } from "../heads/units.ts";
import { type Boundary, classified, type Method } from "../method.ts";
import { withoutLast, withStem } from "../partition.ts";

/** Options of {@link augLocal}. */
export interface AugLocalOptions {
  /**
   * Blocks in the first auxiliary network, d; default: a third of the network's blocks, at most 6, which is what was
   * published for ResNet-110.
   */
  depth?: number;
  /** How far the depth has shrunk at the last boundary: from d to d − τ(d − 1); default 0.5. */
  tau?: number;
  /** Whether the stem is a module of its own; default as published: where images have up to 96×96 pixels. */
  stem?: boolean;
}

/**
 * AugLocal (Ma et al., 2024, arXiv 2402.17318): a module is judged by a small copy of what follows it, namely blocks
 * like d of those behind it, at even distances and with the last among them, then global average pooling, linear and
 * cross-entropy. The copies have parameters of their own. They become fewer along the network. The last d + 1 blocks
 * are trained together.
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
  expectObject("augLocal", options, { depth: "number?", tau: "number?", stem: "boolean?" });
  const { depth, tau = 0.5, stem } = options;
  if (depth !== undefined) expectWhole("augLocal: depth", depth);
  if (!(tau >= 0 && tau <= 1)) {
    throw new LocalgradError(`augLocal: tau must be between 0 and 1, not ${tau}`);
  }
  const depthOf = (blocks: number) => depth ?? Math.max(1, Math.min(6, Math.floor(blocks / 3)));
  return {
    name: "augLocal",
    options: { ...(depth === undefined ? {} : { depth }), tau, ...(stem === undefined ? {} : { stem }) },
    recut(model, cut) {
      const full = depthOf(model.blocks.length);
      const together = full + 1;
      const own = withoutLast(model, cut, together);
      if (own.modules.length === 1 && cut.modules.length > 1) {
        throw new LocalgradError(
          `augLocal: with depth ${full} the last ${together} blocks are trained together, and no boundary is left in ` +
            `${model.name} (${cut.how}); cut it earlier, into more modules, or ask for a smaller depth`,
        );
      }
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

/** A copy of `depth` of the blocks behind a boundary, with a head. */
function network({ features, behind, model }: Boundary, depth: number): Layer {
  const layers: { [name: string]: Layers[string] } = {};
  let shape = features;
  const natural = inputsOf(behind, features);
  for (const [i, at] of chosen(model.blocks.length - behind.length, behind.length, depth).entries()) {
    const layer = adapted(behind[at], natural[at], shape);
    layers[`blocks.${i}`] = layer;
    shape = shapeAfter(layer, shape);
  }
  const channels = shape[shape.length - 1];
  return sequential({
    ...layers,
    pool: globalAveragePooling(),
    ...(depth <= 1 ? { bn: batchNorm({ channels }) } : {}),
    fc: linear({ in: channels, out: model.classes }),
  });
}

/**
 * Which of `behind` blocks are imitated, from 0, where `before` others come first. Places are rounded as places in the
 * whole network, as in the published code: halves go to the block whose number there is even.
 */
function chosen(before: number, behind: number, depth: number): number[] {
  const count = Math.min(depth, behind);
  return Array.from(
    { length: count },
    (_, i) => roundHalfToEven(before + behind / count * (i + 1)) - before - 1,
  );
}

/** The shapes of the features that blocks in a row take. */
function inputsOf(blocks: readonly Block[], features: Shape): Shape[] {
  let shape = features;
  return blocks.map(({ layer }) => {
    const input = shape;
    shape = shapeAfter(layer, shape);
    return input;
  });
}

/** A block like this one for features of another width: of its own making where it can, or behind a convolution. */
function adapted({ layer, from }: Block, [, , usual]: Shape, [, , channels]: Shape): Layer {
  if (channels === usual) return layer;
  return from?.(channels) ?? sequential({
    adapt: convUnit({ in: channels, out: usual, window: 1, strides: 2 }),
    block: layer,
  });
}

/** To the nearest whole number, halves to the even one, as Python's `round` in the published code. */
function roundHalfToEven(value: number): number {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
}
