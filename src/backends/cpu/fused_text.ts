import type { Node, View } from "../../compile/kernel.ts";
import { hasView, type Nest, type NestStore } from "./fused_nest.ts";

/**
 * The complete text of a nest: equal texts mean equal code. Reduced axes are in parentheses; `#n` is
 * operand n, read or written at `offset+[stride, …]`; `vn` and `en` are the nodes of the two expressions.
 */
export function nestText(nest: Nest): string {
  const axes = nest.space.map((extent, axis) => nest.reduced[axis] ? `(${extent})` : `${extent}`);
  const bytes = nest.elementBytes.flatMap((size, index) =>
    size === 4 ? [] : [` #${index} holds ${size === 1 ? "bytes" : "bf16"}`]
  );
  const lines = [
    `over ${axes.join(" × ")}${bytes.join()}`,
    ...nest.nodes.map((node, i) => `  v${i} = ${nodeText(node, "v")}`),
    ...nest.stores.map((store) => storeText(store, "v")),
    ...nest.reductions.map(({ fn, node, dtype }, i) => `  r${i} = ${fn} v${node} ${dtype}`),
    ...nest.epilogue.map((node, i) => `  e${i} = ${nodeText(node, "e")}`),
    ...nest.epilogueStores.map((store) => storeText(store, "e")),
  ];
  return lines.join("\n");
}

function storeText({ node, operand, view }: NestStore, prefix: string): string {
  return `  #${operand} ${viewText(view)} ← ${prefix}${node}`;
}

function viewText({ offset, strides }: View): string {
  return `${offset}+[${strides.join(", ")}]`;
}

function nodeText(node: Node, prefix: string): string {
  const detail = (): string => {
    switch (node.kind) {
      case "load":
        return `#${node.input}`;
      case "constant":
        return Object.is(node.value, -0) ? "-0" : `${node.value}`;
      case "randomBits":
        return `randomBits${node.word} #${node.key}`;
      case "reduced":
        return `r${node.index}`;
      case "unary":
      case "binary":
      case "compare":
        return node.fn;
      default:
        return node.kind;
    }
  };
  const args = "args" in node ? ` ${node.args.map((arg) => prefix + arg).join(" ")}` : "";
  const view = hasView(node) ? ` ${viewText(node.view)}` : "";
  return `${detail()}${args}${view} ${node.dtype}`;
}
