import { expectOptions } from "../base/expect.ts";
import { uniformInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";

/** Options of {@link linear}. */
export interface LinearSpec {
  /** Features of the input. */
  in: number;
  /** Features of the result. */
  out: number;
  /** Adds a learned value per output feature; default true. */
  bias?: boolean;
}

/**
 * Fully connected layer: `[batch, in]` → `[batch, out]`. `weight` is `[out, in]`; weight and bias start uniform within
 * ±1/√in, as PyTorch's.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = nn.linear({ in: 64, out: 10 });
 * assertEquals(layer.params["weight"].shape, [10, 64]);
 * ```
 */
export function linear(spec: LinearSpec): Layer {
  expectOptions("linear", spec, { in: "number", out: "number", bias: "boolean?" });
  const bound = 1 / Math.sqrt(spec.in);
  const weight = uniformInitial(bound, [spec.out, spec.in]);
  if (spec.bias === false) {
    return layer({
      params: { weight },
      apply: ({ weight }, state, x) => ({ y: x.matmul(weight.cast(x.dtype), { transposeB: true }), state }),
    });
  }
  return layer({
    params: { weight, bias: uniformInitial(bound, [spec.out]) },
    apply: ({ weight, bias }, state, x) => ({
      y: x.matmul(weight.cast(x.dtype), { transposeB: true }).add(bias.cast(x.dtype)),
      state,
    }),
  });
}
