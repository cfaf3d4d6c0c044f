import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions } from "../base/expect.ts";
import type { Shape } from "../trace/dtype.ts";
import { where } from "../trace/functions.ts";
import { bits } from "../trace/random.ts";
import type { Tensor } from "../trace/tensor.ts";
import { expectLayer, type Layer, layer } from "./layer.ts";
import { derivedKey } from "./random_key.ts";

/** Options of {@link dropout}. */
export interface DropoutSpec {
  /** The share of values that are dropped, at least 0 and below 1; default 0.5. */
  rate?: number;
}

/**
 * Dropout (Srivastava et al., 2014): in training each value is 0 with probability `rate`, and else divided by 1 − `rate`; in
 * evaluation nothing changes. Which values are dropped follows from the key alone, with the same bits on every backend. A
 * dropped value is 0 even where x is NaN or infinite; PyTorch multiplies, and gives NaN.
 *
 * @throws {LocalgradError} if the rate is out of range, or, when applied in training, without a key: layers that apply
 * others pass theirs on.
 *
 * @example
 * ```ts
 * import { devices, jit, keys, nn, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const drop = nn.dropout({ rate: 0.25 });
 * await using device = await devices.open("cpu");
 * const train = jit((x: Tensor, key: Tensor) => drop.apply({}, {}, x, "train", key).y, { device });
 * using x = device.array([3, 3, 3, 3, 3, 3, 3, 3]);
 * using y = train(x, keys.key(1));
 * assertEquals(new Set(await y.read()), new Set([0, 4]));
 * ```
 */
export function dropout(spec: DropoutSpec = {}): Layer {
  expectOptions("dropout", spec, { rate: "number?" });
  const { rate = 0.5 } = spec;
  expectBetween("dropout: rate", rate, 0, 1);
  return layer({
    random: true,
    apply: (_params, state, x, mode, key) => ({
      y: mode === "evaluate" || rate === 0 ? x : kept("dropout", x, rate, x.shape, key),
      state,
    }),
  });
}

/** Options of {@link stochasticDepth}. */
export interface StochasticDepthSpec {
  /** The layer whose result is dropped for whole images: the branch beside a shortcut. */
  layer: Layer;
  /** The share of images for which it is dropped, at least 0 and below 1. */
  rate: number;
}

/**
 * Stochastic depth (Huang et al., 2016, arXiv 1603.09382): a layer whose result, in training, is 0 for each image with
 * probability `rate`, and else divided by 1 − `rate`; beside a shortcut, the block is then skipped for those images.
 * Parameters and state are those of the layer.
 *
 * @throws {LocalgradError} if the rate is out of range, or, when applied in training, without a key.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const branch = nn.stochasticDepth({ layer: nn.conv({ in: 4, out: 4, padding: 1 }), rate: 0.1 });
 * assertEquals(Object.keys(branch.params), ["weight"]);
 * assertEquals(nn.shapeAfter(branch, [8, 8, 4]), [8, 8, 4]);
 * ```
 */
export function stochasticDepth(spec: StochasticDepthSpec): Layer {
  expectOptions("stochasticDepth", spec, { layer: "object", rate: "number" });
  const { layer: inner, rate } = spec;
  expectLayer("stochasticDepth: the layer", inner);
  expectBetween("stochasticDepth: rate", rate, 0, 1);
  return layer({
    params: inner.params,
    state: inner.state,
    random: true,
    apply(params, state, x, mode, key) {
      const applied = inner.apply(params, state, x, mode, derivedKey(key, 0));
      if (mode === "evaluate" || rate === 0) return applied;
      const { y } = applied;
      const shape = y.shape.map((extent, axis) => axis === 0 ? extent : 1);
      return { ...applied, y: kept("stochasticDepth", y, rate, shape, derivedKey(key, 1)) };
    },
  });
}

/** Keeps values, or whole slices of them, with probability 1 − `rate`. */
function kept(who: string, x: Tensor, rate: number, shape: Shape, key: Tensor | undefined): Tensor {
  if (key === undefined) {
    throw new LocalgradError(
      `${who} needs a random key in training: apply(params, state, x, "train", key); a layer that applies others passes its ` +
        "key on, and is made with random: true",
    );
  }
  // Compared as integers: a rate that is no multiple of 2⁻²⁴ would round differently in float32 and float64.
  const keep = bits(key, shape).shr(8).ge(Math.round(rate * 2 ** 24)).broadcastTo(x.shape);
  return where(keep, x.mul(1 / (1 - rate)), 0);
}
