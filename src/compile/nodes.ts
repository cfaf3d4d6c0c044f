import type { Node, View } from "./kernel.ts";

/** Expressions of more nodes are cut and larger kernels not merged, so that kernels stay small whatever is traced. */
export const MAX_NODES = 256;

/** Nodes without repetition: adding one that is there gives the one that is there. */
export class NodeList {
  /** The nodes. */
  readonly nodes: Node[] = [];
  readonly #known = new Map<string, number>();

  /** Index of a node. */
  add(node: Node): number {
    const key = keyOf(node);
    let index = this.#known.get(key);
    if (index === undefined) {
      index = this.nodes.push(node) - 1;
      this.#known.set(key, index);
    }
    return index;
  }
}

function keyOf(node: Node): string {
  const place = (view: View) => `${view.offset}+${view.strides.join()}`;
  switch (node.kind) {
    case "load":
      return `load ${node.input} ${place(node.view)} ${node.dtype}`;
    case "constant":
      return `constant ${Object.is(node.value, -0) ? "-0" : node.value} ${node.dtype}`;
    case "iota":
      return `iota ${place(node.view)} ${node.dtype}`;
    case "randomBits":
      return `randomBits ${node.key} ${place(node.view)}`;
    case "reduced":
      return `reduced ${node.index}`;
    case "cast":
      return `cast ${node.args[0]} ${node.dtype}`;
    default:
      return `${"fn" in node ? node.fn : node.kind} ${node.args.join()}`;
  }
}
