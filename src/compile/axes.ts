import { at } from "../base/at.ts";
import type { Shape } from "../trace/dtype.ts";
import type { Kernel, Node, View } from "./kernel.ts";

/** Returns the same kernel over as few axes as its views allow: adjacent axes that every view walks as one are merged. */
export function mergeAxes(kernel: Kernel): Kernel {
  const { space, nodes, reduce } = kernel;
  const isReduced = (axis: number): boolean => reduce?.axes.includes(axis) ?? false;
  const kept = [...space.keys()].filter((axis) => !isReduced(axis));
  const views = nodes.flatMap(viewIn);
  // The views of an epilogue have one stride per axis that is kept.
  const outerViews = (reduce?.epilogue ?? []).flatMap(viewIn);

  const canJoin = (before: number, axis: number): boolean => {
    const extent = at(space, axis);
    if (isReduced(before) !== isReduced(axis)) return false;
    if (!views.every(({ strides }) => strides[before] === at(strides, axis) * extent)) return false;
    if (isReduced(axis)) return true;
    const outer = kept.indexOf(axis);
    return outerViews.every(({ strides }) => strides[outer - 1] === at(strides, outer) * extent);
  };
  /** Groups of axes that become one each, outermost first. */
  const groups: { readonly axes: number[]; inner: number }[] = [];
  for (const axis of space.keys()) {
    const last = groups.at(-1);
    if (last !== undefined && canJoin(last.inner, axis)) {
      last.axes.push(axis);
      last.inner = axis;
    } else {
      groups.push({ axes: [axis], inner: axis });
    }
  }
  if (groups.length === space.length) return kernel;

  const isMerged = groups[0] !== undefined && groups[0].axes.length > 1;
  const inner = groups.map((group) => group.inner);
  const innerKept = inner.filter((axis) => !isReduced(axis)).map((axis) => kept.indexOf(axis));
  return {
    ...kernel,
    space: groups.map(({ axes }) => axes.reduce((product, axis) => product * at(space, axis), 1)),
    nodes: nodes.map((node) => withAxes(node, inner)),
    ...(reduce === undefined ? {} : {
      reduce: {
        ...reduce,
        ...(isMerged && isReduced(0) ? { outermost: at(space, 0) } : {}),
        axes: groups.flatMap((group, axis) => isReduced(group.inner) ? [axis] : []),
        epilogue: reduce.epilogue.map((node) => withAxes(node, innerKept)),
      },
    }),
  };
}

function viewIn(node: Node): View[] {
  return "view" in node ? [node.view] : [];
}

/** Returns the node with only the strides of `axes`. */
function withAxes(node: Node, axes: readonly number[]): Node {
  if (!("view" in node)) return node;
  const { offset, strides } = node.view;
  return { ...node, view: { offset, strides: axes.map((axis) => at(strides, axis)) } };
}

/** Tests whether a view reads, at each point, that point's own element of a row-major array over `space`. */
export function isIdentity({ offset, strides }: View, space: Shape): boolean {
  let stride = 1;
  for (let axis = space.length - 1; axis >= 0; axis--) {
    const extent = at(space, axis);
    if (extent !== 1 && strides[axis] !== stride) return false;
    stride *= extent;
  }
  return offset === 0;
}
