import { at } from "../../base/at.ts";
import type { Named } from "../../nn/named.ts";
import { allReduce } from "../../trace/collectives.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { scope } from "../../trace/trace.ts";
import { treeFlatten, treeLeaves, treeUnflatten } from "../../trace/tree.ts";
import { bucketsOf, spread } from "./buckets.ts";
import { DATA } from "./exchange.ts";

/** Values of at least this many elements are reduced by themselves; smaller ones share a message. */
const LARGE = 1 << 18;

/** The sums of values over the shares of a batch: one message for the small ones, and one for each large. */
export function sumOverShares(values: readonly Tensor[]): Tensor[] {
  return startSums(values)();
}

/** Starts to sum values over the shares of a batch. What it returns waits for the sums, where it is called. */
function startSums(values: readonly Tensor[]): () => Tensor[] {
  return scope("exchange", () => {
    const reduced = bucketsOf(values, LARGE).map(({ tensor, members }) => ({
      all: allReduce(tensor, { group: DATA }),
      members,
    }));
    return () =>
      scope("exchange", () => {
        const sums = new Array<Tensor>(values.length);
        for (const { all, members } of reduced) spread(all, members, values, sums);
        return sums;
      });
  });
}

/** What a module's passes give: the gradients of its parameters, and its state after them. */
export interface Passed {
  /** The gradients of its parameters. */
  readonly gradients: Named<Tensor>;
  /** Its state after its passes. */
  readonly state: Named<Tensor>;
}

/**
 * The gradients and state of a module from those of each share: sums of gradients, and weighted sums of changes. The sums
 * start here; what it returns waits for them, where it is called, so that they run beside what is traced in between.
 */
export function overShares(own: Passed, before: Named<Tensor>, weight: number): () => Passed {
  const gradients = treeFlatten<Tensor>(own.gradients);
  const state = treeFlatten<Tensor>(own.state);
  const old = treeLeaves<Tensor>(before);
  const changed = state.leaves.flatMap((value, i) => value !== old[i] && value.dtype === "f32" ? [i] : []);
  const changes = changed.map((i) => at(state.leaves, i).sub(at(old, i)).mul(weight));
  const started = startSums([...gradients.leaves, ...changes]);
  return () => {
    const sums = started();
    const after = [...state.leaves];
    for (const [k, i] of changed.entries()) {
      after[i] = at(old, i).add(at(sums, gradients.leaves.length + k));
    }
    return {
      gradients: treeUnflatten(gradients.structure, sums.slice(0, gradients.leaves.length)) as Named<Tensor>,
      state: treeUnflatten(state.structure, after) as Named<Tensor>,
    };
  };
}
