import type { ValueId } from "../trace/program.ts";
import { Tensor } from "../trace/tensor.ts";
import { currentTrace } from "../trace/trace.ts";
import { type Tree, treeLeaves } from "../trace/tree.ts";
import { pullback } from "./pullback.ts";

/**
 * `f(weights, x)`, differentiated as if the weights had become others between the passes, and those: the way back reads
 * them wherever it would read `weights`, or what `f` computed from these alone, and everything else as the way there
 * left it. It is what PyTorch does when the data of frozen weights is replaced before `backward()`. The gradient, which
 * belongs to no function, flows to `x` only. `change` is recorded behind `f`, so that it may write over the weights.
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
  // Renamed within the region, so that the way back through the inside is not the region's own rule again.
  const given = trace.emit("reshape", [x], { shape: x.shape });
  const y = f(weights, given);
  const end = instructions.length;
  const later = change(weights);
  const [before, after] = [weights, later].map((tree) => treeLeaves<Tensor>(tree));
  trace.regions.push({
    start,
    end,
    inputs: [x],
    outputs: [y],
    rule([dy]) {
      const changed = new Map<ValueId, ValueId>(before.map(({ id }, i) => [id, after[i].id]));
      return trace.reading(changed, () => {
        for (let i = start; i < end; i++) {
          const { op, inputs, attrs, output } = instructions[i];
          if (inputs.length === 0 || !inputs.every((id) => changed.has(id))) continue;
          changed.set(output, trace.emit(op, inputs.map((id) => new Tensor(trace, id)), attrs).id);
        }
        return pullback(trace, start + 1, [y], [dy], [given]);
      });
    },
  });
  return { y, later };
}
