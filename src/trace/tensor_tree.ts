import { expectTensors, type Tensor } from "./tensor.ts";
import { treeFlatten, treeUnflatten } from "./tree.ts";

/** A tree of tensors, flattened. */
export interface TensorTree<P> {
  /** Its leaves, in key order. */
  readonly leaves: readonly Tensor[];
  /** Makes a tree of the same type with other tensors in place of the leaves. */
  readonly rebuild: (leaves: readonly Tensor[]) => P;
}

/** Flattens a tree of tensors. Refuses a tree with any other leaf; `who` begins the message. */
export function tensorTree<P>(who: string, tree: P): TensorTree<P> {
  const { leaves, structure } = treeFlatten<unknown>(tree);
  expectTensors(who, leaves);
  return { leaves, rebuild: (others) => treeUnflatten(structure, others) as P };
}
