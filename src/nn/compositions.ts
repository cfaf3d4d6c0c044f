/**
 * Functions of tensors that several layers share, composed of ops, with gradients that keep little in memory.
 *
 * @module
 */

import { customGradient } from "../autograd/grad.ts";
import { at } from "../base/at.ts";
import { constantLike, type Tensor } from "../trace/tensor.ts";

/** Softmax over the last axis, computed in f32. The gradient is computed from the result alone. */
export function softmax(x: Tensor): Tensor {
  const last = x.rank - 1;
  const outputs = customGradient([x.cast("f32")], (x) => {
    const powers = x.sub(x.max(last, { keepDims: true }).stopGradient()).exp();
    const y = powers.div(powers.sum(last, { keepDims: true }));
    return {
      outputs: [y],
      rule: ([dy]) => {
        if (dy === undefined) return [];
        const products = dy.mul(y);
        return [products.sub(y.mul(products.sum(last, { keepDims: true })))];
      },
    };
  });
  return at(outputs, 0).cast(x.dtype);
}

/** The error function, to within 2·10⁻⁷ (Abramowitz and Stegun, 1964, formula 7.1.26). */
function erf(x: Tensor): Tensor {
  const size = x.abs();
  const t = constantLike(1, x).div(size.mul(0.3275911).add(1));
  const polynomial = t.mul(1.061405429).sub(1.453152027).mul(t).add(1.421413741).mul(t).sub(0.284496736)
    .mul(t).add(0.254829592).mul(t);
  return x.sign().mul(polynomial.mul(size.square().neg().exp()).neg().add(1));
}

/** The distribution function of the standard normal distribution. */
function normalBelow(x: Tensor): Tensor {
  return erf(x.mul(Math.SQRT1_2)).add(1).mul(0.5);
}

/**
 * The Gaussian error linear unit, x · Φ(x) (Hendrycks and Gimpel, 2016, arXiv 1606.08415), computed in f32; to within
 * 2·10⁻⁷ · |x|. Its derivative is Φ(x) + x · φ(x).
 */
export function gelu(x: Tensor): Tensor {
  const outputs = customGradient([x.cast("f32")], (x) => ({
    outputs: [x.mul(normalBelow(x))],
    rule: ([dy]) => {
      if (dy === undefined) return [];
      const density = x.square().mul(-0.5).exp().mul(1 / Math.sqrt(2 * Math.PI));
      return [dy.mul(normalBelow(x).add(x.mul(density)))];
    },
  }));
  return at(outputs, 0).cast(x.dtype);
}

/** The tanh approximation of {@link gelu}, as GPT-2 has it. */
export function geluTanh(x: Tensor): Tensor {
  const wide = x.cast("f32");
  const inner = wide.add(wide.mul(wide).mul(wide).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return wide.mul(0.5).mul(inner.tanh().add(1)).cast(x.dtype);
}

/** `x` less its mean over `axes`, divided by its standard deviation there: √(biased variance + epsilon). f32. */
export function standardized(x: Tensor, axes: readonly number[], epsilon: number): Tensor {
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

/** `x` times the transposed weight `[out, in]`, over the last axis, and the bias; weight and bias are cast to x's dtype. */
export function affine(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const [out = 1, inputs = 1] = weight.shape;
  const own = weight.cast(x.dtype);
  const y = x.rank <= 2 || x.shape[x.rank - 1] !== inputs
    ? x.matmul(own, { transposeB: true }) // which refuses shapes that do not fit
    : x.reshape(-1, inputs).matmul(own, { transposeB: true }).reshape(...x.shape.slice(0, -1), out);
  return bias === undefined ? y : y.add(bias.cast(x.dtype));
}
