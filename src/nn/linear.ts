import { expectBetween, expectOptions, expectWhole } from "../base/expect.ts";
import type { Tensor } from "../trace/tensor.ts";
import { constantInitial, type Initial, normalInitial, uniformInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";

/** Options of {@link linear}. */
export interface LinearSpec {
  /** Features of the input. */
  in: number;
  /** Features of the result. */
  out: number;
  /** Adds a learned value per output feature; default true. */
  bias?: boolean;
  /**
   * Standard deviation of the starting weight, which is then normal, with a bias of 0, as in torchvision's networks; 0
   * starts at zero. Default: uniform weight and bias within ±1/√in, as PyTorch's.
   */
  std?: number;
}

/**
 * Fully connected layer: `[batch, …, in]` → `[batch, …, out]`, over the last axis of tokens or pixels alike. `weight` is
 * `[out, in]`.
 *
 * @throws {LocalgradError} if a number of features is not a whole number of at least 1, or `std` is negative.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = nn.linear({ in: 64, out: 10 });
 * assertEquals(layer.params["weight"].shape, [10, 64]);
 * assertEquals(nn.shapeAfter(layer, [197, 64]), [197, 10]);
 * ```
 */
export function linear(spec: LinearSpec): Layer {
  expectOptions("linear", spec, { in: "number", out: "number", bias: "boolean?", std: "number?" });
  const { in: inputs, out, bias = true, std } = spec;
  expectWhole("linear: in", inputs);
  expectWhole("linear: out", out);
  if (std !== undefined) expectBetween("linear: std", std, 0);
  const bound = 1 / Math.sqrt(inputs);
  const drawn = (shape: readonly number[]): Initial => {
    if (std === undefined) return uniformInitial(bound, shape);
    return std === 0 ? constantInitial(0, shape) : normalInitial(std, shape);
  };
  const weight = drawn([out, inputs]);
  if (!bias) {
    return layer({
      params: { weight },
      apply: ({ weight }, state, x) => ({ y: affine(x, weight), state }),
    });
  }
  return layer({
    params: { weight, bias: std === undefined ? drawn([out]) : constantInitial(0, [out]) },
    apply: ({ weight, bias }, state, x) => ({ y: affine(x, weight, bias), state }),
  });
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
