import { customGradient } from "../autograd/grad.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions } from "../base/expect.ts";
import { allReduce } from "../trace/collectives.ts";
import { formatAval } from "../trace/dtype.ts";
import { concat, full } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import { constantInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";
import { type SharedBatch, sharedBatch } from "./shared_batch.ts";

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
 * Where processes share a batch, the statistics are those of a process's share, as PyTorch's are with
 * DistributedDataParallel; with the trainer's `batchNorm: "synchronised"` those of the whole batch, as SyncBatchNorm's.
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
      const shared = sharedBatch();
      const count = countOf(x, shared);
      if (count < 2) {
        throw new LocalgradError(
          `batchNorm: ${formatAval(x)} has one value per channel, which has no variance; use a larger batch`,
        );
      }
      const { y, batchMean, batchVariance } = normalize(wide, weight, bias, epsilon, shared);
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

/** The number of values of each channel, in the whole batch. */
function countOf(x: Tensor, shared: SharedBatch | undefined): number {
  const [images = 0] = x.shape;
  const count = x.size / at(x.shape, x.shape.length - 1);
  if (shared === undefined) return count;
  if (images === shared.own) return count / shared.own * shared.images;
  throw new LocalgradError(
    `batchNorm: ${
      formatAval(x)
    } has ${images} images, but this process's share of the batch ${shared.own}; ` +
      "synchronised batch norm takes statistics of whole shares only",
  );
}

/**
 * `(x − mean) / √(variance + epsilon) · weight + bias` with the mean and variance of `x` over all axes but the last, and
 * over all processes that share the batch.
 */
function normalize(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  epsilon: number,
  shared: SharedBatch | undefined,
) {
  const axes = x.shape.slice(0, -1).map((_, axis) => axis);
  const channels = at(x.shape, axes.length);
  const own = x.size / channels;
  const count = countOf(x, shared);
  // One pass over x gives both sums. Subtracting any pixel first keeps them small where the mean is large compared with
  // the deviation, which is when E[x²] − E[x]² would cancel (Chan, Golub and LeVeque, 1983).
  const pixel = x.slice(x.shape.map(() => 0), x.shape.map((extent, axis) => axis < axes.length ? 1 : extent));
  const shift = pixel.stopGradient().reshape(channels);
  let batchMean!: Tensor, batchVariance!: Tensor;
  const outputs = customGradient([x, weight, bias], (x, weight, bias) => {
    const shifted = x.sub(shift);
    const first = shifted.sum(axes).mul(1 / own);
    const second = shifted.mul(shifted).sum(axes).mul(1 / own);
    const of: Moments = { mean: first.add(shift), variance: second.sub(first.mul(first)).maximum(0) };
    const { mean, variance } = shared === undefined ? of : combined(of, shared);
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
        const products = dy.mul(centred).sum(axes);
        const dWeight = products.mul(scale);
        // Every process's loss depends on x by the statistics; the parameters' gradients are of its own use of them.
        const [sum, slope] = shared === undefined
          ? [dBias, dWeight]
          : inTwo(allReduce(concat([dBias, dWeight]), { group: shared.group }));
        const dx = dy.sub(sum.mul(1 / count)).sub(centred.mul(slope.mul(scale).mul(1 / count))).mul(
          scale.mul(weight),
        );
        return [dx, dWeight, dBias];
      },
    };
  });
  return { y: at(outputs, 0), batchMean, batchVariance };
}

/** Mean and biased variance of each channel. */
interface Moments {
  readonly mean: Tensor;
  readonly variance: Tensor;
}

/**
 * The moments of the whole batch from those of every share. They are gathered, in one exchange, rather than summed:
 * variances of shares and differences of their means do not cancel where the mean is large (Chan, Golub and LeVeque,
 * 1983). All processes get the same bits, because each element is of one process and the others add zeros.
 */
function combined(
  { mean, variance }: Moments,
  { group, index, processes, own, images }: SharedBatch,
): Moments {
  const { size } = mean;
  const row = concat([mean, variance, full([1], own / images)]).reshape(1, 2 * size + 1);
  const rows = allReduce(row.pad([index, 0], [processes - 1 - index, 0]), { group });
  const columns = (from: number, to: number) => rows.slice([0, from], [processes, to]);
  const [means, variances, weights] = [
    columns(0, size),
    columns(size, 2 * size),
    columns(2 * size, 2 * size + 1),
  ];
  const start = means.slice([0, 0], [1, size]).reshape(size);
  const whole = start.add(means.sub(start).mul(weights).sum([0]));
  return {
    mean: whole,
    variance: variances.add(means.sub(whole).square()).mul(weights).sum([0]),
  };
}

/** The halves of a vector. */
function inTwo(both: Tensor): readonly [Tensor, Tensor] {
  const half = both.size / 2;
  return [both.slice([0], [half]), both.slice([half], [2 * half])];
}
