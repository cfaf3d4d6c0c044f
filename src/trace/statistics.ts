import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectOptions, isWhole, shown } from "../base/expect.ts";
import { where } from "./functions.ts";
import { inF32 } from "./in_f32.ts";
import { type Axes, axesOf } from "./shape_arguments.ts";
import { expectTensor, type Tensor } from "./tensor.ts";

/** Options of {@link variance} and {@link std}. */
export interface VarianceOptions {
  /** Keeps the reduced axes with extent 1; default false. */
  keepDims?: boolean;
  /**
   * Subtracted from the number of elements by which the sum of squares is divided: 0 (default) for the variance of the
   * elements themselves, as in NumPy and JAX; 1 for the unbiased estimate from a sample, PyTorch's default.
   */
  correction?: number;
}

/**
 * The variance over axes, in two passes: the mean is subtracted before squares are summed, so that no digits are lost
 * where it is large.
 *
 * @param x f32 or bf16, which is computed in f32 and rounded once.
 * @param axes Default: all.
 * @throws {LocalgradError} if an axis does not exist, or an option is wrong.
 *
 * @example
 * ```ts
 * import { devices, jit, type Tensor, variance } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * using y = jit((x: Tensor) => variance(x, 0, { correction: 1 }), { device })(device.array([1, 2, 3]));
 * assertEquals([...await y.read()], [1]);
 * ```
 */
export function variance(x: Tensor, axes?: Axes, options: VarianceOptions = {}): Tensor {
  return varianceFor("variance", x, axes, options);
}

function varianceFor(who: string, x: Tensor, axes: Axes | undefined, options: VarianceOptions): Tensor {
  expectTensor(who, x);
  expectOptions(who, options, { keepDims: "boolean?", correction: "number?" });
  const { correction = 0, keepDims = false } = options;
  if (!isWhole(correction, 0)) {
    throw new LocalgradError(
      `${who}: correction must be a whole number, 0 or more, not ${shown(correction)}`,
    );
  }
  return inF32(x, (x) => {
    const squares = x.sub(x.mean(axes, { keepDims: true })).square();
    if (correction === 0) return squares.mean(axes, { keepDims });
    const count = axesOf(x.rank, axes).reduce((count, axis) => count * at(x.shape, axis), 1);
    // As in PyTorch: NaN of one element, which 0 / 0 is.
    return squares.sum(axes, { keepDims }).div(Math.max(0, count - correction));
  });
}

/** The square root, with gradient 0 at 0, where that of a length is undefined; PyTorch chooses the same. */
function root(x: Tensor): Tensor {
  const zero = x.eq(0);
  return where(zero, 0, where(zero, 1, x).sqrt());
}

/**
 * The standard deviation over axes: the square root of the {@link variance}. Its gradient at 0 is 0, as in PyTorch.
 *
 * @param x f32 or bf16, which is computed in f32 and rounded once.
 * @param axes Default: all.
 * @throws {LocalgradError} if an axis does not exist, or an option is wrong.
 */
export function std(x: Tensor, axes?: Axes, options: VarianceOptions = {}): Tensor {
  expectTensor("std", x);
  return inF32(x, (x) => root(varianceFor("std", x, axes, options)));
}

/** Options of {@link norm}. */
export interface NormOptions {
  /** Keeps the reduced axes with extent 1; default false. */
  keepDims?: boolean;
  /** 2 (default): the root of the sum of squares; 1: the sum of magnitudes; Infinity: the largest magnitude. */
  order?: 1 | 2 | typeof Infinity;
}

/**
 * The length of the vectors along axes. Squares are taken of elements relative to the largest, so that the norm
 * overflows or vanishes only where its own value does; the gradient of order 2 at 0 is 0, as in PyTorch.
 *
 * @param x f32 or bf16, which is computed in f32 and rounded once.
 * @param axes Default: all.
 * @throws {LocalgradError} if an axis does not exist, or for another order.
 *
 * @example
 * ```ts
 * import { devices, jit, norm, type Tensor } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await using device = await devices.open("cpu");
 * using y = jit((x: Tensor) => norm(x), { device })(device.array([3e30, 4e30]));
 * assertAlmostEquals((await y.read())[0] / 5e30, 1, 1e-6);
 * ```
 */
export function norm(x: Tensor, axes?: Axes, options: NormOptions = {}): Tensor {
  expectTensor("norm", x);
  expectOptions("norm", options, { keepDims: "boolean?", order: "number?" });
  const { order = 2, keepDims = false } = options;
  if (order !== 1 && order !== 2 && order !== Infinity) {
    throw new LocalgradError(`norm: order must be 1, 2 or Infinity, not ${shown(order)}`);
  }
  return inF32(x, (x) => {
    if (order === 1) return x.abs().sum(axes, { keepDims });
    if (x.size === 0) return root(x.square().sum(axes, { keepDims }));
    if (order === Infinity) return x.abs().max(axes, { keepDims });
    const most = x.abs().max(axes, { keepDims: true }).stopGradient();
    const scale = where(most.isFinite().and(most.gt(0)), most, 1);
    const length = root(x.div(scale).square().sum(axes, { keepDims }));
    return length.mul(scale.reshape(...length.shape));
  });
}
