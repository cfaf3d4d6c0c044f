import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectObject } from "../base/expect.ts";
import { keysFrom, type Layer, layer, type Layers, type Mode, sequential } from "../nn/layer.ts";
import { descend, merge, type Named, nest } from "../nn/named.ts";
import type { Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";

/**
 * The context of a block: what is added to its input, the sum of encodings of the network's input and of earlier inputs.
 * See `local.contSup`.
 */
export interface Context {
  /** The name of the block. */
  readonly before: string;
  /**
   * The encoders, by what they take: `image`, the network's input; `r1`, the input of the block before it that has a
   * context, that included; `r2`, that of the one before; and so on. Before the first it is the network's input. Each
   * gives the shape of the block's input.
   */
  readonly encoders: Layers;
}

/** What contexts are computed from. */
export interface Supply {
  /** The network's input. */
  readonly image: Tensor;
  /** The inputs of the blocks with a context so far, newest first, and then the network's input, as far as they are read. */
  readonly earlier: readonly Tensor[];
}

/** A part of a network some of whose blocks have contexts. */
export interface ContextLayer extends Layer {
  /** The same without the contexts, whose output has the same shape. */
  readonly plain: Layer;
  /** Applies it with what the contexts are computed from; also returns that for what follows. */
  applyIn(
    params: Named<Tensor>,
    state: Named<Tensor>,
    x: Tensor,
    mode: Mode,
    supply: Supply,
    key?: Tensor,
  ): { y: Tensor; state: Named<Tensor>; supply: Supply };
}

/** The name of the subtree that holds the encoders. */
export const CONTEXT = "context";

/** The most earlier inputs that any of these contexts reads. */
export function reachOf(contexts: readonly Context[]): number {
  return Math.max(0, ...contexts.flatMap(({ encoders }) => Object.keys(encoders).map(stepsBack)));
}

/** How many contexts back a source is; 0 for the image. */
function stepsBack(source: string): number {
  const steps = source === "image" ? 0 : Number(/^r([1-9]\d*)$/.exec(source)?.[1] ?? NaN);
  if (steps >= 0) return steps;
  throw new LocalgradError(
    `a model's context: there is no source ${JSON.stringify(source)}; use image, r1, r2, …`,
  );
}

/** Refuses contexts that are none, or not before blocks of these names. */
export function expectContexts(contexts: readonly Context[], blocks: readonly string[]): void {
  expectKind("a model's contexts", contexts, "array");
  for (const context of contexts) {
    expectObject("a model's context", context, { before: "string", encoders: "object" });
    Object.keys(context.encoders).forEach(stepsBack);
    if (!blocks.includes(context.before)) {
      throw new LocalgradError(
        `a model's context: there is no block ${JSON.stringify(context.before)}; its blocks are ${
          blocks.join(", ")
        }`,
      );
    }
  }
}

/** Makes a layer of layers by name, as `sequential`, with the contexts of those that have one. */
export function inContext(layers: Layers, contexts: readonly Context[]): Layer | ContextLayer {
  const plain = sequential(layers);
  const own = new Map(contexts.filter(({ before }) => before in layers).map((each) => [each.before, each]));
  if (own.size === 0) return plain;
  const reach = reachOf(contexts);
  const encoders = sequential(
    Object.fromEntries(
      [...own.values()].flatMap(({ before, encoders }) =>
        Object.entries(encoders).map(([source, encoder]) => [placeOf(before, source), encoder])
      ),
    ),
  );
  const applyIn: ContextLayer["applyIn"] = (params, state, x, mode, supply, key) => {
    const states: Named<Tensor>[] = [];
    const keys = keysFrom(key);
    const apply = (name: string, part: Layer, x: Tensor): Tensor => {
      const { y, state: after } = scope(
        name,
        () => part.apply(descend(params, name), descend(state, name), x, mode, keys(part)),
      );
      if (Object.keys(part.state).length > 0) states.push(nest(name, after));
      return y;
    };
    let { earlier } = supply;
    for (const [name, part] of Object.entries(layers)) {
      const context = own.get(name);
      if (context !== undefined) {
        for (const [source, encoder] of Object.entries(context.encoders)) {
          const steps = stepsBack(source);
          const read = steps === 0 ? supply.image : earlier[steps - 1];
          if (read === undefined) {
            throw new LocalgradError(`context of ${name}: there is no ${source} before it`);
          }
          x = x.add(apply(placeOf(name, source), encoder, read));
        }
        earlier = [x, ...earlier].slice(0, reach);
      }
      x = apply(name, part, x);
    }
    return { y: x, state: merge(...states), supply: { ...supply, earlier } };
  };
  const whole = layer({
    params: merge(plain.params, encoders.params),
    state: merge(plain.state, encoders.state),
    random: plain.random ?? false,
    apply(params, state, x, mode, key) {
      const { y, state: after } = applyIn(params, state, x, mode, supplyOf(x, contexts), key);
      return { y, state: after };
    },
  });
  return { ...whole, plain, applyIn };
}

/** What the contexts of a network are computed from when it begins. */
export function supplyOf(image: Tensor, contexts: readonly Context[]): Supply {
  return { image, earlier: [image].slice(0, reachOf(contexts)) };
}

/** True if a part of a network has contexts. */
export function hasContexts(layer: Layer | ContextLayer): layer is ContextLayer {
  return "applyIn" in layer;
}

/** A layer without its contexts. */
export function plainOf(layer: Layer | ContextLayer): Layer {
  return hasContexts(layer) ? layer.plain : layer;
}

function placeOf(block: string, source: string): string {
  return `${CONTEXT}.${block}.${source}`;
}
