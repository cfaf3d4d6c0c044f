import { customGradient } from "../autograd/grad.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectKind, expectOptions, expectWhole } from "../base/expect.ts";
import { formatAval, type Shape } from "../trace/dtype.ts";
import type { Tensor } from "../trace/tensor.ts";
import { constantInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";

/** Options of {@link layerNorm}. */
export interface LayerNormSpec {
  /** Extent of the last axis, or extents of the last axes, that are normalised together. */
  features: number | Shape;
  /** Added to the variance; default 1e-5. Torchvision's ViT and ConvNeXt have 1e-6. */
  epsilon?: number;
}

/**
 * Layer normalisation (Ba et al., 2016, arXiv 1607.06450) over the last axes, as PyTorch's: each image, token or pixel has
 * its own mean and biased variance, so there is no state, and training and evaluation are the same. It computes in f32, in
 * two passes, which keep their digits where the mean is large, and returns the dtype of x. Parameters: `weight` and `bias`,
 * of the shape `features`.
 *
 * @throws {LocalgradError} if the features are not whole numbers of at least 1, or, when applied, not the last axes of x.
 *
 * @example
 * ```ts
 * import { devices, jit, nn, type Tensor } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * const norm = nn.layerNorm({ features: 4 });
 * await using device = await devices.open("reference");
 * using x = device.array([10001, 10002, 10003, 10004], [1, 4]);
 * const weight = device.array([1, 1, 1, 1]), bias = device.array([0, 0, 0, 0]);
 * using y = jit((p: nn.Named<Tensor>, x: Tensor) => norm.apply(p, {}, x, "train").y)({ weight, bias }, x);
 * assertAlmostEquals((await y.read())[3], 1.5 / Math.sqrt(1.25), 1e-4);
 * weight.dispose();
 * bias.dispose();
 * ```
 */
export function layerNorm(spec: LayerNormSpec): Layer {
  expectOptions("layerNorm", spec, { features: "any", epsilon: "number?" });
  const { features, epsilon = 1e-5 } = spec;
  expectBetween("layerNorm: epsilon", epsilon, 0);
  if (typeof features !== "number") expectKind("layerNorm: features", features, "array");
  const shape = typeof features === "number" ? [features] : [...features];
  if (shape.length === 0) throw new LocalgradError("layerNorm: features needs at least one extent");
  for (const extent of shape) expectWhole("layerNorm: features", extent);
  return layer({
    params: { weight: constantInitial(1, shape), bias: constantInitial(0, shape) },
    apply({ weight, bias }, state, x) {
      const first = x.rank - shape.length;
      if (first < 1 || shape.some((extent, i) => x.shape[first + i] !== extent)) {
        throw new LocalgradError(
          `layerNorm: ${formatAval(x)} does not end in the features [${
            shape.join(",")
          }] after its batch axis`,
        );
      }
      const y = standardized(x.cast("f32"), shape.map((_, i) => first + i), epsilon);
      return { y: y.mul(weight).add(bias).cast(x.dtype), state };
    },
  });
}

/** Options of {@link groupNorm}. */
export interface GroupNormSpec {
  /** Groups that the channels are divided into, in order. */
  groups: number;
  /** Extent of the last axis. */
  channels: number;
  /** Added to the variance; default 1e-5. */
  epsilon?: number;
}

/**
 * Group normalisation (Wu and He, 2018, arXiv 1803.08494), as PyTorch's: the channels of each image are divided into
 * groups, each with the mean and biased variance of all its channels and pixels. There is no state, and it does not depend
 * on the batch. It computes in f32 and returns the dtype of x, `[batch, …, channels]`. Parameters: `weight` and `bias`, a
 * value for each channel. One group normalises whole images; as many as channels, each channel by itself (instance
 * normalisation).
 *
 * @throws {LocalgradError} if the channels cannot be divided into the groups.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const norm = nn.groupNorm({ groups: 8, channels: 64 });
 * assertEquals(norm.params["weight"].shape, [64]);
 * assertEquals(nn.shapeAfter(norm, [5, 5, 64]), [5, 5, 64]);
 * ```
 */
export function groupNorm(spec: GroupNormSpec): Layer {
  expectOptions("groupNorm", spec, { groups: "number", channels: "number", epsilon: "number?" });
  const { groups, channels, epsilon = 1e-5 } = spec;
  expectWhole("groupNorm: groups", groups);
  expectWhole("groupNorm: channels", channels);
  expectBetween("groupNorm: epsilon", epsilon, 0);
  if (channels % groups !== 0) {
    throw new LocalgradError(`groupNorm: ${channels} channels cannot be divided into ${groups} groups`);
  }
  const grouped = (x: Tensor): Tensor => {
    const [batch = 1] = x.shape;
    if (x.rank < 2 || x.shape[x.rank - 1] !== channels) {
      throw new LocalgradError(`groupNorm: ${formatAval(x)} does not have ${channels} channels last`);
    }
    return x.reshape(batch, -1, groups, channels / groups);
  };
  return layer({
    params: { weight: constantInitial(1, [channels]), bias: constantInitial(0, [channels]) },
    apply({ weight, bias }, state, x) {
      const y = standardized(grouped(x.cast("f32")), [1, 3], epsilon).reshape(...x.shape);
      return { y: y.mul(weight).add(bias).cast(x.dtype), state };
    },
  });
}

/** `x` less its mean over `axes`, divided by its standard deviation there: √(biased variance + epsilon). f32. */
function standardized(x: Tensor, axes: readonly number[], epsilon: number): Tensor {
  const keep = { keepDims: true };
  const outputs = customGradient([x], (x) => {
    // Two passes: E[x²] − E[x]² would cancel where the mean is large compared with the deviation.
    const mean = x.mean([...axes], keep);
    const scale = x.sub(mean).square().mean([...axes], keep).add(epsilon).rsqrt();
    const normal = () => x.sub(mean).mul(scale);
    return {
      outputs: [normal()],
      rule: ([dy]) => {
        if (dy === undefined) return [];
        const y = normal();
        const slope = dy.mul(y).mean([...axes], keep);
        return [dy.sub(dy.mean([...axes], keep)).sub(y.mul(slope)).mul(scale)];
      },
    };
  });
  return at(outputs, 0);
}
