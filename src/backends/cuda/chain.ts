import { at } from "../../base/at.ts";
import { isIdentity } from "../../compile/axes.ts";
import type { Kernel, Node } from "../../compile/kernel.ts";
import type { Plan } from "../../compile/plan.ts";
import { bytesOf, sameShape, type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { keptShape } from "../index_text.ts";
import { placeOf } from "../place.ts";
import { lanesOf, MAX_CHAINED_TERMS, widestOf } from "./tiling.ts";

/** The most values of a chain. */
const MAX_VALUES = 64;

/**
 * The kernels of a plan's steps from one on that can run as one launch, each block doing all of them for some results of
 * the first, a reduction: those over the same space that reduce the same axes or none, if what they exchange stays within
 * those results. So are the statistics of a small batch and the normalisation by them. At least two, or none.
 */
export function chainFrom(plan: Plan, index: number): readonly Kernel[] {
  const first = kernelAt(plan, index);
  if (first?.reduce === undefined) return [];
  const results = sizeOf(keptShape(first));
  if (results === 0 || sizeOf(first.space) > results * MAX_CHAINED_TERMS) return [];
  const chain = [first];
  const accesses = accessesOf(plan, first, first);
  for (let next = index + 1; accesses.length <= MAX_VALUES; next++) {
    const kernel = kernelAt(plan, next);
    if (kernel === undefined || !sameWalk(kernel, first)) break;
    const more = accessesOf(plan, kernel, first);
    if (!accesses.every((a) => more.every((b) => isWithinResults(a, b)))) break;
    chain.push(kernel);
    accesses.push(...more);
  }
  return chain.length > 1 ? chain : [];
}

function kernelAt({ steps }: Plan, index: number): Kernel | undefined {
  const step = steps[index];
  return step?.kind === "kernel" ? step.kernel : undefined;
}

function sameWalk(kernel: Kernel, first: Kernel): boolean {
  const lanes = ({ space, nodes }: Kernel) => lanesOf(space.at(-1) ?? 1, widestOf(nodes));
  const axes = first.reduce?.axes ?? [];
  return sameShape(kernel.space, first.space) && lanes(kernel) === lanes(first) &&
    (kernel.reduce === undefined || sameShape(kernel.reduce.axes, axes));
}

/** An access of a value: each point its own element, each result its own, or neither. */
interface Access {
  readonly value: ValueId;
  readonly element: "point" | "result" | "any";
  readonly written: boolean;
  readonly buffer: string;
  readonly from: number;
  readonly to: number;
}

/** The accesses of a kernel that reduces the axes of `first`, or none. */
function accessesOf(plan: Plan, kernel: Kernel, first: Kernel): Access[] {
  const { space, inputs, nodes, stores, reduce } = kernel;
  const axes = first.reduce?.axes ?? [];
  const kept = keptShape(first);
  /** The strides of a result's own element, over the space. */
  const own = stridesOf(kept);
  const ownStrides = space.map((_, axis) =>
    axes.includes(axis) ? 0 : at(own, axis - axes.filter((a) => a < axis).length)
  );
  const read = (list: readonly Node[], over: Shape, isMain: boolean): Access[] =>
    list.flatMap((node) => {
      if (node.kind === "randomBits") return [access(plan, at(inputs, node.key), "any", false)];
      if (node.kind !== "load") return [];
      const value = at(inputs, node.input), { view } = node;
      if (isIdentity(view, over)) return [access(plan, value, isMain ? "point" : "result", false)];
      const isOwn = isMain && view.offset === 0 && sameShape(view.strides, ownStrides);
      return [access(plan, value, isOwn ? "result" : "any", false)];
    });
  return [
    ...read(nodes, space, true),
    ...read(reduce?.epilogue ?? [], kept, false),
    ...stores.map(({ output }) => access(plan, output, "point", true)),
    ...(reduce?.stores ?? []).map(({ output }) => access(plan, output, "result", true)),
  ];
}

function access(plan: Plan, value: ValueId, element: Access["element"], written: boolean): Access {
  const { kind, index, offset } = placeOf(plan, at(plan.steps, 0), value);
  return {
    ...{ value, element, written, buffer: `${kind} ${index}` },
    ...{ from: offset, to: offset + bytesOf(at(plan.values, value)) },
  };
}

/** Tests whether two accesses touch no common memory, only read it, or both touch only the elements of their own results. */
function isWithinResults(a: Access, b: Access): boolean {
  const meet = a.buffer === b.buffer && a.from < b.to && b.from < a.to;
  if (!meet || (!a.written && !b.written)) return true;
  return a.element !== "any" && a.element === b.element && a.from === b.from && a.to === b.to;
}
