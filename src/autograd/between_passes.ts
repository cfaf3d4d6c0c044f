import { at } from "../base/at.ts";
import type { ValueId } from "../trace/program.ts";
import { Tensor } from "../trace/tensor.ts";
import { currentTrace } from "../trace/trace.ts";
import { type Tree, treeLeaves } from "../trace/tree.ts";
import { pullback } from "./pullback.ts";

/**
 * Runs `f(weights, x)`, but the backward pass uses the weights that `change` returns: it reads them, and values computed
 * from weights alone, in their new version, and everything else as the forward pass computed it. PyTorch does the same
 * when the data of frozen weights is replaced before `backward()`. The result is not the gradient of any function, and
 * only `x` receives one. `change` is recorded after `f`, so that it may overwrite the weights.
 */
export function changedBetweenPasses<W extends Tree<Tensor>>(
  f: (weights: W, x: Tensor) => Tensor,
  weights: W,
  change: (weights: W) => W,
  x: Tensor,
): { y: Tensor; later: W } {
  const trace = currentTrace("changedBetweenPasses");
  const { instructions } = trace.builder;
  const start = instructions.length;
  // Renamed within the region; otherwise the rule below would meet the region again and apply itself.
  const given = trace.emit("reshape", [x], { shape: x.shape });
  const y = f(weights, given);
  const end = instructions.length;
  const later = change(weights);
  const before = treeLeaves<Tensor>(weights);
  const after = treeLeaves<Tensor>(later);
  trace.regions.push({
    start,
    end,
    inputs: [x],
    outputs: [y],
    rule([dy]) {
      const changed = new Map<ValueId, ValueId>(before.map(({ id }, i) => [id, at(after, i).id]));
      return trace.reading(changed, () => {
        for (const { op, inputs, attrs, output } of instructions.slice(start, end)) {
          if (inputs.length === 0 || !inputs.every((id) => changed.has(id))) continue;
          changed.set(output, trace.emit(op, inputs.map((id) => new Tensor(trace, id)), attrs).id);
        }
        return pullback(trace, start + 1, [y], [dy], [given]);
      });
    },
  });
  return { y, later };
}
