import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { relu } from "../nn/activation.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import { conv } from "../nn/conv.ts";
import { type Layer, sequential, shapeAfter, stateless } from "../nn/layer.ts";
import { flatten } from "../nn/flatten.ts";
import { linear } from "../nn/linear.ts";
import { adaptiveAveragePooling } from "../nn/pooling.ts";
import { imageAsTokens, tokenGrid } from "../nn/tokens.ts";
import { type Shape, sizeOf } from "../trace/dtype.ts";
import { CONTEXT, type Context } from "./context.ts";
import { inputShape, type Model } from "./model.ts";

/**
 * Returns a network with contexts before some of its blocks, each of these sources: `image`, `r1`, `r2`, …; see
 * {@link Context}. The encoders are those of ContSup's code (arXiv 2312.07636): of the image, two 3×3 convolutions, to 12
 * channels and to those of the features, each with batch norm and ReLU; of earlier inputs, a 1×1 convolution with batch
 * norm and ReLU; then mean pooling to the size of the features. Of vectors, and of each token, a linear layer with batch
 * norm and ReLU; of an image for vectors, the same of all its values. For tokens, an image is encoded as one of as many pixels as there are parts of it.
 */
export function withEncoders(model: Model, sources: ReadonlyMap<string, readonly string[]>): Model {
  const image = inputShape(model);
  const earlier: Shape[] = [image];
  const contexts: Context[] = [];
  let shape = shapeAfter(sequential(model.stem), image);
  for (const { name, layer } of model.blocks) {
    const own = sources.get(name);
    if (own !== undefined) {
      const encoders = own.map((source): [string, Layer] => {
        const from = source === "image" ? image : earlier[Number(source.slice(1)) - 1];
        if (from !== undefined) return [source, encoder(name, source, from, shape)];
        throw new LocalgradError(`context of ${name}: there is no ${source} before it`);
      });
      contexts.push({ before: name, encoders: Object.fromEntries(encoders) });
      earlier.unshift(shape);
    }
    shape = shapeAfter(layer, shape);
  }
  return contexts.length === 0 ? model : { ...model, contexts };
}

/** Returns the network that has parameters of these names: with the contexts that they belong to, if any. */
export function withEncodersOf(model: Model, names: Iterable<string>): Model {
  const sources = new Map<string, Set<string>>();
  for (const name of names) {
    const [, block, source] = PLACE.exec(name) ?? [];
    if (block !== undefined && source !== undefined) {
      sources.set(block, (sources.get(block) ?? new Set()).add(source));
    }
  }
  return withEncoders(model, new Map([...sources].map(([block, each]) => [block, [...each]])));
}

const PLACE = new RegExp(`^${CONTEXT}\\.(.+)\\.(image|r[1-9]\\d*)\\.`);

/** The width between the two convolutions of an image's encoder. */
const WIDTH = 12;

function encoder(block: string, source: string, from: Shape, to: Shape): Layer {
  const inputs = at(from, from.length - 1), out = at(to, to.length - 1);
  if (from.length === 3 && to.length === 2) {
    const [height, width] = [at(from, 0), at(from, 1)];
    const grid = tokenGrid(`context of ${block}`, at(to, 0), { height, width });
    return sequential({
      image: encoder(block, source, from, [grid.rows, grid.columns, out]),
      tokens: stateless((x) => imageAsTokens(x, grid)),
    });
  }
  if (from.length === 3 && to.length === 1) {
    return sequential({
      flatten: flatten({ order: "channelsLast" }),
      vector: encoder(block, source, [sizeOf(from)], to),
    });
  }
  const sameTokens = from.length !== 2 || from[0] === to[0];
  if (from.length !== to.length || !sameTokens) {
    throw new LocalgradError(
      `context of ${block}: features [${to.join(",")}] cannot take an encoding of [${
        from.join(",")
      }]; cut the network where both are images, both are vectors or both are as many tokens`,
    );
  }
  const after = { bn: batchNorm({ channels: out }), relu: relu() };
  const [height, width] = to;
  if (height === undefined || width === undefined || from.length < 3) {
    return sequential({ linear: linear({ in: inputs, out, bias: false }), ...after });
  }
  const pool = adaptiveAveragePooling(height, width);
  if (source !== "image") {
    return sequential({ conv: conv({ in: inputs, out, window: 1, bias: true }), ...after, pool });
  }
  return sequential({
    conv1: conv({ in: inputs, out: WIDTH, padding: 1, bias: true }),
    bn1: batchNorm({ channels: WIDTH }),
    relu1: relu(),
    conv2: conv({ in: WIDTH, out, padding: 1, bias: true }),
    bn2: batchNorm({ channels: out }),
    relu2: relu(),
    pool,
  });
}
