import { at } from "../../base/at.ts";
import { expectOptions, expectWhole } from "../../base/expect.ts";
import type { Block } from "../../models/model.ts";
import type { Initial } from "../../nn/initial.ts";
import { shapeAfter } from "../../nn/layer.ts";
import { descend, merge, type Named, nest, select } from "../../nn/named.ts";
import { derivedKey } from "../../nn/random_key.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { scope } from "../../trace/trace.ts";
import { classifierFor } from "../heads/pixel_heads.ts";
import { type Auxiliary, type Boundary, classified, type Following, type Method } from "../method.ts";
import { EMA } from "../places.ts";
import { keyed } from "../randomness.ts";
import { averageOf, averageOptions, copyOf } from "./block_average.ts";
import { CASCADE_KINDS, cascaded, type CascadeOptions } from "./cascaded.ts";

/** Options of {@link mlaan}. */
export interface MlaanOptions extends CascadeOptions {
  /** The number of copied blocks in each auxiliary network; default 4. */
  depth?: number;
  /** The fraction of the first copy's average that is kept at each step, at least 0 and below 1; default 0.995. */
  momentum?: number;
}

/**
 * Multilaminar leap augmented auxiliary networks (MLAAN; Zhang et al., AAAI 2025, arXiv 2406.16633): cascades of
 * neighbouring modules, as in {@link hpff}, whose losses leap ahead. The auxiliary network is a chain of trained copies of
 * deeper blocks; to the output of the first, that of its block's exponential moving average is added, which is not trained;
 * then global average pooling, a linear layer and cross-entropy. All copies start as their blocks.
 *
 * The chain has each later block that changes the shape of the features, and of those after them the last and others, evenly
 * spaced, up to `depth`.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const { modules } = local.setup({
 *   model: models.resnet20(),
 *   modules: 9,
 *   method: local.mlaan({ depth: 3 }),
 *   optimizer: optim.sgd(),
 * });
 * const { blocks } = modules[1].auxiliary!.params; // copies of layer2.0, layer3.0 and layer3.2
 * assertEquals(Object.keys(blocks), ["0", "1", "2"]);
 * ```
 */
export function mlaan(options: MlaanOptions = {}): Method {
  expectOptions("mlaan", options, { ...CASCADE_KINDS, depth: "number?", momentum: "number?" });
  const { depth = 4, ...rest } = options;
  expectWhole("mlaan: depth", depth);
  const { momentum } = averageOptions(
    "mlaan",
    rest.momentum === undefined ? {} : { momentum: rest.momentum },
  );
  const leap: Method = {
    name: "leap",
    options: { depth, momentum },
    auxiliary: (boundary) => leapAuxiliary(boundary, depth, momentum),
  };
  const made = cascaded("mlaan", leap, rest);
  return { ...made, name: "mlaan", options: { ...made.options, ...leap.options } };
}

/** The part of an auxiliary network that holds the copies. */
const BLOCKS = "blocks";

function leapAuxiliary(boundary: Boundary, depth: number, momentum: number): Auxiliary {
  const { behind, features, model } = boundary;
  const blocks = leaps(boundary, depth);
  const first = at(blocks, 0);
  const reach = behind.indexOf(first) + 1;
  const average = averageOf(first, EMA, averageOptions("mlaan", { momentum }));
  const shape = blocks.reduce((shape, { layer }) => shapeAfter(layer, shape), features);
  const head = classified(classifierFor(model, "0c1f", shape));
  const pathOf = (index: number) => `${BLOCKS}.${index}`;
  const tracked = (next: Following) => {
    if (reach === 1) return next;
    if (next.beyond === undefined) throw new Error("a process of a pipeline does not train cascades");
    return next.beyond.block(first.name);
  };
  return {
    reach,
    params: merge<Initial>(
      ...blocks.map(({ name, layer }, i) => nest(pathOf(i), copyOf(layer.params, name))),
      head.params,
    ),
    state: merge<Initial>(
      ...blocks.map(({ layer }, i) => nest(pathOf(i), layer.state)),
      average.state,
      head.state,
    ),
    loss(params, state, h, batch, next) {
      const states: Named<Tensor>[] = [];
      const u = blocks.reduce((u, { layer }, i) => {
        const path = pathOf(i);
        const { y, state: after } = layer.apply(
          ...[descend(params, path), descend(state, path), u, "train"] as const,
          derivedKey(batch.key, i + 2),
        );
        states.push(nest(path, after));
        return i > 0 ? y : y.add(
          scope(EMA, () => average.apply(average.of({ params, state }), u, derivedKey(batch.key, 0))),
        );
      }, h);
      const local = head.loss(
        select(params, head.params),
        select(state, head.state),
        u,
        keyed(batch, 1),
        next,
      );
      return { loss: local.loss, state: merge(...states, { [EMA]: descend(state, EMA) }, local.state) };
    },
    follow(state, next) {
      const own = { params: {}, state };
      return average.into(own, average.moved(average.of(own), tracked(next))).state;
    },
  };
}

/**
 * Chooses the blocks to copy: all that change the shape of the features, since the chain must, and of the rest of the last
 * stage as many as are left of `depth`, evenly spaced up to the last.
 */
function leaps({ behind, features }: Boundary, depth: number): readonly Block[] {
  let shape = features;
  const changing = behind.filter(({ layer }) => {
    const before = shape;
    shape = shapeAfter(layer, before);
    return shape.join() !== before.join();
  });
  const alike = behind.slice(behind.findLastIndex((block) => changing.includes(block)) + 1);
  const count = Math.min(alike.length, Math.max(0, depth - changing.length));
  const spread = Array.from(
    { length: count },
    (_, i) => at(alike, Math.ceil((i + 1) * alike.length / count) - 1),
  );
  return [...changing, ...spread];
}
