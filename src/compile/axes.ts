import type { Shape } from "../trace/dtype.ts";
import type { Kernel, Node, View } from "./kernel.ts";

/** The same kernel over as few axes as every view allows: neighbours that are walked as one become one. */
export function mergeAxes(kernel: Kernel): Kernel {
  const { space, nodes, reduce } = kernel;
  const folded = (axis: number): boolean => reduce?.axes.includes(axis) ?? false;
  const kept = space.flatMap((_, axis) => folded(axis) ? [] : [axis]);
  const views = nodes.flatMap(viewIn);
  // An epilogue's views have a stride for each kept axis only.
  const outer = (reduce?.epilogue ?? []).flatMap(viewIn);

  const groups: number[][] = []; // axes of the space that become one, outermost first
  for (let axis = 0; axis < space.length; axis++) {
    const last = groups.at(-1);
    const before = last?.at(-1);
    const joins = before !== undefined && folded(before) === folded(axis) &&
      views.every(({ strides }) => strides[before] === strides[axis] * space[axis]) &&
      (folded(axis) || outer.every(({ strides }) => {
        const at = kept.indexOf(axis);
        return strides[at - 1] === strides[at] * space[axis];
      }));
    if (joins) last!.push(axis);
    else groups.push([axis]);
  }
  if (groups.length === space.length) return kernel;

  const inner = groups.map((group) => group.at(-1)!);
  const innerKept = inner.filter((axis) => !folded(axis)).map((axis) => kept.indexOf(axis));
  return {
    ...kernel,
    space: groups.map((group) => group.reduce((product, axis) => product * space[axis], 1)),
    nodes: nodes.map((node) => pick(node, inner)),
    ...(reduce === undefined ? {} : {
      reduce: {
        ...reduce,
        axes: groups.flatMap(([axis], group) => folded(axis) ? [group] : []),
        epilogue: reduce.epilogue.map((node) => pick(node, innerKept)),
      },
    }),
  };
}

function viewIn(node: Node): View[] {
  return "view" in node ? [node.view] : [];
}

/** The node with the strides of only these axes. */
function pick(node: Node, axes: readonly number[]): Node {
  if (!("view" in node)) return node;
  const { offset, strides } = node.view;
  return { ...node, view: { offset, strides: axes.map((axis) => strides[axis]) } };
}

/** Whether a view reads each point's own element of a row-major array over `space`. */
export function isIdentity({ offset, strides }: View, space: Shape): boolean {
  let stride = 1;
  for (let axis = space.length - 1; axis >= 0; axis--) {
    if (space[axis] !== 1 && strides[axis] !== stride) return false;
    stride *= space[axis];
  }
  return offset === 0;
}
