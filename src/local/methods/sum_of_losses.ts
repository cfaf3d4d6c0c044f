import { customGradient, vjp } from "../../autograd/grad.ts";
import { at } from "../../base/at.ts";
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
 * Sums several losses of features `h`. The gradient of each loss is computed before the next loss, so the activations of
 * one network are free before the next network runs. Values and gradients are the same as those of the plain sum.
 */
export function sumOfLosses(h: Tensor, terms: readonly LossTerm[]): Tensor {
  const flat = terms.map(({ params, loss }) => ({ ...treeFlatten<Tensor>(params), loss }));
  const outputs = customGradient([h, ...flat.flatMap(({ leaves }) => leaves)], (h, ...leaves) => {
    const parts = flat.map(({ leaves: { length }, structure, loss }) => {
      const params = treeUnflatten(structure, leaves.splice(0, length)) as Named<Tensor>;
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
  return at(outputs, 0);
}
