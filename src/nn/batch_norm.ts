import { customGradient } from "../autograd/grad.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions } from "../base/expect.ts";
import { formatAval } from "../trace/dtype.ts";
import type { Tensor } from "../trace/tensor.ts";
import { constantInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";

/** Options of {@link batchNorm}. */
export interface BatchNormSpec {
  /** Extent of the last axis. */
  channels: number;
  /** Added to the variance; default 1e-5. */
  epsilon?: number;
  /** Weight of the batch in the running statistics; default 0.1. */
  momentum?: number;
}

/**
 * Batch normalisation (Ioffe and Szegedy, 2015, arXiv 1502.03167) over all axes but the last, as PyTorch's. Training
 * uses the batch's mean and biased variance and updates the running statistics (with the unbiased variance); evaluation
 * uses the running statistics. It computes in f32 and returns x's dtype. Parameters: `weight` and `bias`; state:
 * `running_mean` and `running_var`.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const norm = nn.batchNorm({ channels: 16 });
 * assertEquals(Object.keys(norm.state), ["running_mean", "running_var"]);
 * ```
 */
export function batchNorm(spec: BatchNormSpec): Layer {
  expectOptions("batchNorm", spec, { channels: "number", epsilon: "number?", momentum: "number?" });
  const { channels, epsilon = 1e-5, momentum = 0.1 } = spec;
  expectBetween("batchNorm: epsilon", epsilon, 0);
  expectBetween("batchNorm: momentum", momentum, 0);
  return layer({
    params: { weight: constantInitial(1, [channels]), bias: constantInitial(0, [channels]) },
    state: { running_mean: constantInitial(0, [channels]), running_var: constantInitial(1, [channels]) },
    apply({ weight, bias }, state, x, mode) {
      const { running_mean: mean, running_var: variance } = state;
      const wide = x.cast("f32");
      if (mode === "evaluate") {
        const y = wide.sub(mean).mul(variance.add(epsilon).rsqrt().mul(weight)).add(bias);
        return { y: y.cast(x.dtype), state };
      }
      const count = x.size / channels;
      if (count < 2) {
        throw new LocalgradError(
          `batchNorm: ${formatAval(x)} has one value per channel, which has no variance; use a larger batch`,
        );
      }
      const { y, batchMean, batchVariance } = normalize(wide, weight, bias, epsilon);
      const move = (old: Tensor, seen: Tensor) => old.mul(1 - momentum).add(seen.mul(momentum));
      return {
        y: y.cast(x.dtype),
        state: {
          running_mean: move(mean, batchMean),
          running_var: move(variance, batchVariance.mul(count / (count - 1))),
        },
      };
    },
  });
}

/** `(x − mean) / √(variance + epsilon) · weight + bias` with the mean and variance of `x` over all axes but the last. */
function normalize(x: Tensor, weight: Tensor, bias: Tensor, epsilon: number) {
  const axes = x.shape.slice(0, -1).map((_, axis) => axis);
  const channels = at(x.shape, axes.length);
  const count = x.size / channels;
  // One pass over x gives both sums. Subtracting any pixel first keeps them small where the mean is large compared with
  // the deviation, which is when E[x²] − E[x]² would cancel (Chan, Golub and LeVeque, 1983).
  const pixel = x.slice(x.shape.map(() => 0), x.shape.map((extent, axis) => axis < axes.length ? 1 : extent));
  const shift = pixel.stopGradient().reshape(channels);
  let batchMean!: Tensor, batchVariance!: Tensor;
  const outputs = customGradient([x, weight, bias], (x, weight, bias) => {
    const shifted = x.sub(shift);
    const first = shifted.sum(axes).mul(1 / count);
    const second = shifted.mul(shifted).sum(axes).mul(1 / count);
    const mean = first.add(shift);
    const variance = second.sub(first.mul(first)).maximum(0);
    const scale = variance.add(epsilon).rsqrt();
    batchMean = mean.stopGradient();
    batchVariance = variance.stopGradient();
    const y = x.sub(mean).mul(scale.mul(weight)).add(bias);
    return {
      outputs: [y],
      // The textbook gradient: besides dy it reads only x and values per channel, so nothing else is kept in memory.
      rule([dy]) {
        if (dy === undefined) return [];
        const centred = x.sub(mean);
        const dBias = dy.sum(axes);
        const dWeight = dy.mul(centred).sum(axes).mul(scale);
        const slope = dWeight.mul(scale).mul(1 / count);
        const dx = dy.sub(dBias.mul(1 / count)).sub(centred.mul(slope)).mul(scale.mul(weight));
        return [dx, dWeight, dBias];
      },
    };
  });
  return { y: at(outputs, 0), batchMean, batchVariance };
}
