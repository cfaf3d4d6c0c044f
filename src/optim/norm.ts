import { LocalgradError } from "../base/errors.ts";
import type { Tensor } from "../trace/tensor.ts";

/** The largest element of some tensors by absolute value, at least 1e-30, and their norm divided by it. */
export interface ScaledNorm {
  readonly largest: Tensor;
  readonly root: Tensor;
}

/** Below this, squares of quotients cannot overflow, and quotients are not denormal. */
const TINY = 1e-30;

/**
 * Euclidean norm of all elements of some tensors, in two factors. The squares of plain f32 values overflow above 1.8e19
 * and vanish below 1e-23; those of values divided by the largest do neither. NaN if an element is not finite.
 */
export function scaledNorm(tensors: readonly Tensor[]): ScaledNorm {
  const largest = total(tensors.map((x) => x.abs().max()), (a, b) => a.maximum(b)).maximum(TINY);
  const squares = tensors.map((x) => x.div(largest).square().sum());
  return { largest, root: total(squares, (a, b) => a.add(b)).sqrt() };
}

/** Euclidean norm of all elements of some tensors: an f32 scalar, see {@link scaledNorm}. */
export function normOf(tensors: readonly Tensor[]): Tensor {
  const { largest, root } = scaledNorm(tensors);
  return largest.mul(root);
}

function total(values: readonly Tensor[], f: (a: Tensor, b: Tensor) => Tensor): Tensor {
  const [first, ...rest] = values;
  if (first === undefined) throw new LocalgradError("a norm needs at least one tensor");
  return rest.reduce(f, first);
}
