import { expectOptions, expectWhole } from "../base/expect.ts";
import type { Tensor } from "../trace/tensor.ts";
import { gelu } from "./activation.ts";
import { multiHeadAttention } from "./attention.ts";
import { type Layer, layer, sequential } from "./layer.ts";
import { layerNorm } from "./layer_norm.ts";
import { linear } from "./linear.ts";
import { select } from "./named.ts";

/** Options of {@link transformerBlock}. */
export interface TransformerBlockSpec {
  /** Values of each token; a multiple of `heads`. */
  width: number;
  /** Heads of the attention. */
  heads: number;
  /** Width between the two linear layers; default 4 · width. */
  hidden?: number;
  /** Lets a token attend only to itself and those before it; default false. */
  causal?: boolean;
  /** Epsilon of the layer norms; default 1e-6, as torchvision's. */
  epsilon?: number;
}

/**
 * Transformer block with layer normalisation before each part ("pre-norm"; Xiong et al., 2020, arXiv 2002.04745):
 * h = x + attention(ln_1(x)), then h + mlp(ln_2(h)), where the MLP has two linear layers with GELU between them. Tokens
 * `[batch, length, width]` keep their shape. Parameters have the names of torchvision's `EncoderBlock`: `ln_1`,
 * `self_attention`, `ln_2`, `mlp.0` and `mlp.3`.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const block = nn.transformerBlock({ width: 64, heads: 4, causal: true });
 * assertEquals(Object.keys(block.params), ["ln_1", "self_attention", "ln_2", "mlp"]);
 * assertEquals(nn.shapeAfter(block, [17, 64]), [17, 64]);
 * ```
 */
export function transformerBlock(spec: TransformerBlockSpec): Layer {
  expectOptions("transformerBlock", spec, {
    width: "number",
    heads: "number",
    hidden: "number?",
    causal: "boolean?",
    epsilon: "number?",
  });
  const { width, heads, hidden = 4 * width, causal = false, epsilon = 1e-6 } = spec;
  expectWhole("transformerBlock: hidden", hidden);
  const std = Math.sqrt(2 / (width + hidden)); // the variance of Glorot's uniform start
  const attention = sequential({
    ln_1: layerNorm({ features: width, epsilon }),
    self_attention: multiHeadAttention({ width, heads, causal }),
  });
  const mlp = sequential({
    "ln_2": layerNorm({ features: width, epsilon }),
    "mlp.0": linear({ in: width, out: hidden, std }),
    "mlp.1": gelu(),
    "mlp.3": linear({ in: hidden, out: width, std }),
  });
  return layer({
    params: { ...attention.params, ...mlp.params },
    apply(params, state, x, mode) {
      const h = x.add(attention.apply(select<Tensor>(params, attention.params), {}, x, mode).y);
      return { y: h.add(mlp.apply(select<Tensor>(params, mlp.params), {}, h, mode).y), state };
    },
  });
}
