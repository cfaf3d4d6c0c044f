import type { Node, View } from "./kernel.ts";

/** Longer expressions are split and larger kernels are not merged, so that kernels stay small whatever is traced. */
export const MAX_NODES = 256;

/** A list of distinct nodes: adding a node that is already in the list returns that one. */
export class NodeList {
  /** The nodes. */
  readonly nodes: Node[];

  /** Starts from distinct nodes. */
  constructor(nodes: Node[] = []) {
    this.nodes = nodes;
  }

  /** Returns a list of its own of the same nodes. */
  copy(): NodeList {
    return new NodeList([...this.nodes]);
  }

  /** Returns the index of a node, which is added if it is new. */
  add(node: Node): number {
    // There are few: comparing each costs less than a hash key.
    let index = 0;
    for (const other of this.nodes) {
      if (isSame(other, node)) return index;
      index++;
    }
    return this.nodes.push(node) - 1;
  }
}

function isSame(a: Node, b: Node): boolean {
  if (a.kind !== b.kind || a.dtype !== b.dtype) return false;
  switch (a.kind) {
    case "load":
      return a.kind === b.kind && a.input === b.input && isSameView(a.view, b.view);
    case "constant":
      return a.kind === b.kind && Object.is(a.value, b.value);
    case "iota":
      return a.kind === b.kind && isSameView(a.view, b.view);
    case "randomBits":
      return a.kind === b.kind && a.key === b.key && a.word === b.word && isSameView(a.view, b.view);
    case "reduced":
      return a.kind === b.kind && a.index === b.index;
    case "select":
    case "cast":
      return a.kind === b.kind && isSameList(a.args, b.args);
    default:
      return a.kind === b.kind && a.fn === b.fn && isSameList(a.args, b.args);
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
