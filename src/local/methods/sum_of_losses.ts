import { customGradient, vjp } from "../../autograd/grad.ts";
import type { Named } from "../../nn/named.ts";
import { full } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { scope } from "../../trace/trace.ts";
import { treeFlatten, treeLeaves, treeUnflatten } from "../../trace/tree.ts";

/** One of several losses of the same features. */
export interface LossTerm {
  /** The parameters of its own network. */
  readonly params: Named<Tensor>;
  /** The loss, a scalar, of features `h`. */
  loss(params: Named<Tensor>, h: Tensor): Tensor;
}

/**
 * The sum of several losses of features `h`. The gradient of each is computed as soon as its loss is, before the next
 * loss, so that what one network holds for its way back is free before the next network runs: they are never held
 * together. The same values and gradients as of the plain sum.
 */
export function sumOfLosses(h: Tensor, terms: readonly LossTerm[]): Tensor {
  const flat = terms.map(({ params }) => treeFlatten<Tensor>(params));
  const [sum] = customGradient([h, ...flat.flatMap(({ leaves }) => leaves)], (h, ...leaves) => {
    const parts = terms.map(({ loss }, i) => {
      const own = leaves.splice(0, flat[i].leaves.length);
      const params = treeUnflatten(flat[i].structure, own) as Named<Tensor>;
      const [value, pullback] = vjp((at: { params: Named<Tensor>; h: Tensor }) => loss(at.params, at.h), {
        params,
        h,
      });
      const [gradient] = scope("backward", () => pullback(full([], 1)));
      return { value, h: gradient.h, params: treeLeaves<Tensor>(gradient.params) };
    });
    return {
      outputs: [parts.map(({ value }) => value).reduce((sum, value) => sum.add(value))],
      rule([ct]) {
        if (ct === undefined) return [];
        const scaled = (gradient: Tensor) => gradient.mul(ct.cast(gradient.dtype)); // features may be bf16
        const own = parts.flatMap(({ params }) => params.map(scaled));
        return [scaled(parts.map(({ h }) => h).reduce((sum, gradient) => sum.add(gradient))), ...own];
      },
    };
  });
  return sum;
}
