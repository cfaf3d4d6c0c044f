import type { Node, View } from "./kernel.ts";

/** Expressions of more nodes are cut and larger kernels not merged, so that kernels stay small whatever is traced. */
export const MAX_NODES = 256;

/** Nodes without repetition: adding one that is there gives the one that is there. */
export class NodeList {
  /** The nodes. */
  readonly nodes: Node[] = [];

  /** Index of a node. */
  add(node: Node): number {
    // There are few: looking at each costs less than a name for it.
    for (let i = 0; i < this.nodes.length; i++) if (isSame(this.nodes[i], node)) return i;
    return this.nodes.push(node) - 1;
  }
}

function isSame(a: Node, b: Node): boolean {
  if (a.kind !== b.kind || a.dtype !== b.dtype) return false;
  switch (a.kind) {
    case "load":
      return a.input === (b as typeof a).input && isSameView(a.view, (b as typeof a).view);
    case "constant":
      return Object.is(a.value, (b as typeof a).value);
    case "iota":
      return isSameView(a.view, (b as typeof a).view);
    case "randomBits":
      return a.key === (b as typeof a).key && isSameView(a.view, (b as typeof a).view);
    case "reduced":
      return a.index === (b as typeof a).index;
    case "select":
    case "cast":
      return isSameList(a.args, (b as typeof a).args);
    default:
      return a.fn === (b as typeof a).fn && isSameList(a.args, (b as typeof a).args);
  }
}

function isSameView(a: View, b: View): boolean {
  return a.offset === b.offset && isSameList(a.strides, b.strides);
}

function isSameList(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
