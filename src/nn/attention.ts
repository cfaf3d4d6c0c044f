import { checkpoint, customGradient } from "../autograd/grad.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectOptions, expectWhole } from "../base/expect.ts";
import { formatAval } from "../trace/dtype.ts";
import { concat, iota, where } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import { constantInitial, uniformInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";
import { affine } from "./linear.ts";

/** Options of {@link multiHeadAttention}. */
export interface AttentionSpec {
  /** Values of each token, in and out; a multiple of `heads`. */
  width: number;
  /** The number of heads. */
  heads: number;
  /** Lets a token attend only to itself and those before it, as language models need; default false. */
  causal?: boolean;
  /**
   * Queries computed at a time. The backward pass computes their scores again, so that the memory for scores grows with
   * the length rather than with its square. Default: all of up to 512 tokens, else 256 at a time.
   */
  chunk?: number;
}

/** The most tokens whose scores are kept by default, and the queries at a time for more. */
const WHOLE = 512, CHUNK = 256;

/**
 * Self-attention with several heads (Vaswani et al., 2017, arXiv 1706.03762), as PyTorch's `MultiheadAttention` with
 * `batch_first` and one input as query, key and value: `[batch, length, width]` → the same shape. Its parameters have
 * PyTorch's names: `in_proj_weight` `[3 · width, width]` (queries, keys, values), `in_proj_bias`, `out_proj.weight` and
 * `out_proj.bias`; they start as PyTorch's. Softmax is computed in f32.
 *
 * @throws {LocalgradError} if `heads` does not divide `width`, or, when applied, x is not `[batch, length, width]`.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const attention = nn.multiHeadAttention({ width: 192, heads: 3, causal: true });
 * assertEquals(nn.shapeAfter(attention, [65, 192]), [65, 192]);
 * assertEquals(Object.keys(attention.params), ["in_proj_weight", "in_proj_bias", "out_proj"]);
 * ```
 */
export function multiHeadAttention(spec: AttentionSpec): Layer {
  expectOptions("multiHeadAttention", spec, {
    width: "number",
    heads: "number",
    causal: "boolean?",
    chunk: "number?",
  });
  const { width, heads, causal = false, chunk } = spec;
  expectWhole("multiHeadAttention: width", width);
  expectWhole("multiHeadAttention: heads", heads);
  if (chunk !== undefined) expectWhole("multiHeadAttention: chunk", chunk);
  if (width % heads !== 0) {
    throw new LocalgradError(`multiHeadAttention: a width of ${width} cannot be divided into ${heads} heads`);
  }
  const depth = width / heads;
  return layer({
    params: {
      in_proj_weight: uniformInitial(Math.sqrt(6 / (4 * width)), [3 * width, width]),
      in_proj_bias: constantInitial(0, [3 * width]),
      out_proj: {
        weight: uniformInitial(1 / Math.sqrt(width), [width, width]),
        bias: constantInitial(0, [width]),
      },
    },
    apply({ in_proj_weight: weight, in_proj_bias: bias, out_proj: out }, state, x) {
      const [batch = 1, length = 1] = x.shape;
      if (x.rank !== 3 || x.shape[2] !== width) {
        throw new LocalgradError(
          `multiHeadAttention: needs [batch, length, ${width}], not ${formatAval(x)}`,
        );
      }
      const projected = affine(x, weight, bias).reshape(batch, length, 3, heads, depth);
      const part = (index: number) =>
        projected.slice([0, 0, index, 0, 0], [batch, length, index + 1, heads, depth])
          .reshape(batch, length, heads, depth).transpose(0, 2, 1, 3).reshape(batch * heads, length, depth);
      const [queries, keys, values] = [part(0).mul(1 / Math.sqrt(depth)), part(1), part(2)];
      const size = chunk ?? (length <= WHOLE ? length : CHUNK);
      const attended = inChunks(queries, keys, values, { size, causal });
      const joined = attended.reshape(batch, heads, length, depth).transpose(0, 2, 1, 3)
        .reshape(batch, length, width);
      return { y: affine(joined, out.weight, out.bias), state };
    },
  });
}

/** Attends to keys and values `[batch · heads, length, depth]`, with `size` queries at a time. */
function inChunks(
  queries: Tensor,
  keys: Tensor,
  values: Tensor,
  { size, causal }: { readonly size: number; readonly causal: boolean },
): Tensor {
  const [groups = 1, length = 1, depth = 1] = queries.shape;
  if (size >= length) return attend(queries, keys, values, causal ? 0 : undefined);
  const rows = (x: Tensor, from: number, to: number) => x.slice([0, from, 0], [groups, to, depth]);
  const pieces = Array.from({ length: Math.ceil(length / size) }, (_, i) => {
    const from = i * size, to = Math.min(length, from + size);
    const seen = causal ? to : length; // later keys get no weight
    // Sliced inside, or the backward pass would keep a copy of the keys and values for each piece.
    const run = checkpoint((queries: Tensor, keys: Tensor, values: Tensor) =>
      attend(rows(queries, from, to), rows(keys, 0, seen), rows(values, 0, seen), causal ? from : undefined)
    );
    return run(queries, keys, values);
  });
  return concat(pieces, 1);
}

/** Attends with all queries; with a mask of later keys if the position of the first query is given. */
function attend(queries: Tensor, keys: Tensor, values: Tensor, first: number | undefined): Tensor {
  const scores = queries.matmul(keys, { transposeB: true }).cast("f32");
  const weights = softmax(first === undefined ? scores : onlyEarlier(scores, first));
  return weights.cast(values.dtype).matmul(values);
}

/** Scores of keys at or before their query, −∞ for later ones. */
function onlyEarlier(scores: Tensor, first: number): Tensor {
  const [, queries = 1, keys = 1] = scores.shape;
  const shape = [1, queries, keys];
  const allowed = iota(shape, 2).le(iota(shape, 1).add(first));
  return where(allowed.broadcastTo(scores.shape), scores, -Infinity);
}

/**
 * Softmax over the last axis. Its gradient reads the result alone, which is kept for the values anyway: of the function of
 * that name the exponentials would be kept too.
 */
function softmax(scores: Tensor): Tensor {
  const last = scores.rank - 1;
  const outputs = customGradient([scores], (x) => {
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
  return at(outputs, 0);
}
