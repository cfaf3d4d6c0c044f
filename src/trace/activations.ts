import { expectOptions } from "../base/expect.ts";
import { where } from "./functions.ts";
import { expectGelu, type GeluOptions } from "./gelu_options.ts";
import { inF32 } from "./in_f32.ts";
import { type Axes, expectAxisOf } from "./shape_arguments.ts";
import { expectTensor, type Operand, type Tensor } from "./tensor.ts";

export type { GeluOptions };

/**
 * The maximum over axes, kept with extent 1, as a constant to subtract before exponentials: no gradient flows to it,
 * because the result does not depend on it. 0 in place of ±∞, so that no difference is ∞ − ∞, if `finite` is true.
 */
function shiftOf(x: Tensor, axes: Axes | undefined, finite: boolean): Tensor {
  const most = x.max(axes, { keepDims: true }).stopGradient();
  return finite ? where(most.isFinite(), most, 0) : most;
}

/**
 * Softmax along an axis: exponentials divided by their sum. Adding a constant changes nothing, so no exponential
 * overflows. An element of −∞ gives 0; a row with NaN or +∞, or of nothing but −∞, gives NaN, as in PyTorch.
 *
 * @param x f32 or bf16, which is computed in f32 and rounded once.
 * @param axis Default: the last.
 * @returns The shape and dtype of `x`.
 * @throws {LocalgradError} if there is no such axis.
 *
 * @example
 * ```ts
 * import { devices, jit, softmax, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * using y = jit((x: Tensor) => softmax(x), { device })(device.array([5, 5, -Infinity, 5, 5]));
 * assertEquals([...await y.read()], [0.25, 0.25, 0, 0.25, 0.25]);
 * ```
 */
export function softmax(x: Tensor, axis: number = -1): Tensor {
  expectTensor("softmax", x);
  const along = expectAxisOf("softmax", x, axis);
  if (x.size === 0) return x;
  return inF32(x, (x) => {
    const powers = x.sub(shiftOf(x, along, false)).exp();
    return powers.div(powers.sum(along, { keepDims: true }));
  });
}

/**
 * The logarithm of {@link softmax}, which stays accurate where the softmax is tiny or 0.
 *
 * @param x f32 or bf16, which is computed in f32 and rounded once.
 * @param axis Default: the last.
 * @returns The shape and dtype of `x`.
 * @throws {LocalgradError} if there is no such axis.
 */
export function logSoftmax(x: Tensor, axis: number = -1): Tensor {
  expectTensor("logSoftmax", x);
  const along = expectAxisOf("logSoftmax", x, axis);
  if (x.size === 0) return x;
  return inF32(x, (x) => {
    const shifted = x.sub(shiftOf(x, along, false));
    return shifted.sub(shifted.exp().sum(along, { keepDims: true }).log());
  });
}

/**
 * log Σ eˣ over axes, without overflow: −∞ of nothing but −∞, +∞ if there is a +∞.
 *
 * @param x f32 or bf16, which is computed in f32 and rounded once.
 * @param axes Default: all.
 * @param options `keepDims` (default false) keeps the reduced axes with extent 1.
 * @throws {LocalgradError} if an axis does not exist or has no elements.
 */
export function logSumExp(x: Tensor, axes?: Axes, options: { keepDims?: boolean } = {}): Tensor {
  expectTensor("logSumExp", x);
  expectOptions("logSumExp", options, { keepDims: "boolean?" });
  return inF32(x, (x) => {
    const shift = shiftOf(x, axes, true);
    const sum = x.sub(shift).exp().sum(axes, options);
    return sum.log().add(shift.reshape(...sum.shape));
  });
}

/**
 * The Gaussian error linear unit x · Φ(x) (Hendrycks & Gimpel, arXiv 1606.08415), element-wise. NaN for −∞, as in
 * PyTorch.
 *
 * @param x f32 or bf16, which is computed in f32 and rounded once.
 * @returns The shape and dtype of `x`.
 *
 * @example
 * ```ts
 * import { devices, gelu, jit, type Tensor } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * using y = jit((x: Tensor) => gelu(x), { device })(device.array([1]));
 * assertAlmostEquals((await y.read())[0], 0.8413447, 1e-6);
 * ```
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  expectTensor("gelu", x);
  expectGelu(options);
  const { approximate = "none" } = options;
  return inF32(x, (x) => {
    if (approximate === "none") return x.mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1));
    const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
    return x.mul(0.5).mul(inner.tanh().add(1));
  });
}

/**
 * The sigmoid linear unit, or swish: x · sigmoid(x), element-wise. NaN for −∞, as in PyTorch.
 *
 * @param x f32 or bf16, which is computed in f32 and rounded once.
 * @returns The shape and dtype of `x`.
 */
export function silu(x: Tensor): Tensor {
  expectTensor("silu", x);
  return inF32(x, (x) => x.mul(x.sigmoid()));
}

/** Limits of {@link clamp}: numbers, or tensors that broadcast with the operand. */
export interface ClampOptions {
  /** The least value; default: none. */
  min?: Operand;
  /** The largest value, which wins where it is below `min`; default: none. */
  max?: Operand;
}

/**
 * Limits each element to a range. NaN stays NaN. At a limit itself the gradient goes to the limit, and so is 0 where
 * that is a number, as in PyTorch.
 *
 * @param x Of any dtype of arithmetic.
 * @returns The shape and dtype of `x`, or the shape it broadcasts to with the limits.
 * @throws {LocalgradError} if a limit is no element of the dtype, or does not broadcast.
 *
 * @example
 * ```ts
 * import { clamp, devices, jit, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * using y = jit((x: Tensor) => clamp(x, { min: 0, max: 6 }), { device })(device.array([-1, 3, 7]));
 * assertEquals([...await y.read()], [0, 3, 6]);
 * ```
 */
export function clamp(x: Tensor, options: ClampOptions): Tensor {
  expectTensor("clamp", x);
  expectOptions("clamp", options, { min: "any?", max: "any?" });
  const { min, max } = options;
  const raised = min === undefined ? x : x.maximum(min);
  return max === undefined ? raised : raised.minimum(max);
}
