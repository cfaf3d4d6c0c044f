import { at } from "../../base/at.ts";
import { isIdentity } from "../../compile/axes.ts";
import type { Kernel, Node } from "../../compile/kernel.ts";
import type { Plan } from "../../compile/plan.ts";
import { type Aval, bytesOf, sameShape, type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
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
  if (first === undefined || !mayBegin(first)) return [];
  const area = (value: ValueId): Area => {
    const { kind, index, offset } = placeOf(plan, at(plan.steps, 0), value);
    return { buffer: `${kind} ${index}`, from: offset, to: offset + bytesOf(at(plan.values, value)) };
  };
  const chain = [first];
  const accesses = accessesOf(area, first, first);
  for (let next = index + 1; accesses.length <= MAX_VALUES; next++) {
    const kernel = kernelAt(plan, next);
    if (kernel === undefined || !sameWalk(kernel, first)) break;
    const more = accessesOf(area, kernel, first);
    if (!accesses.every((a) => more.every((b) => isWithinResults(a, b)))) break;
    chain.push(kernel);
    accesses.push(...more);
  }
  return chain.length > 1 ? chain : [];
}

/**
 * Tests whether a reduction and the kernel after it are going to be a chain, before values have places: they are, unless
 * their values come to share memory.
 */
export function mayChain(first: Kernel, next: Kernel, values: readonly Aval[]): boolean {
  if (!mayBegin(first) || !sameWalk(next, first)) return false;
  const area = (value: ValueId): Area => ({ buffer: `${value}`, from: 0, to: bytesOf(at(values, value)) });
  const accesses = accessesOf(area, first, first);
  if (accesses.length > MAX_VALUES) return false;
  return accesses.every((a) => accessesOf(area, next, first).every((b) => isWithinResults(a, b)));
}

/** Tests whether a chain may begin with a kernel: a reduction of few terms. */
function mayBegin(kernel: Kernel): boolean {
  if (kernel.reduce === undefined) return false;
  const results = sizeOf(keptShape(kernel));
  return results > 0 && sizeOf(kernel.space) <= results * MAX_CHAINED_TERMS;
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

/** The memory of a value. */
interface Area {
  readonly buffer: string;
  readonly from: number;
  readonly to: number;
}

/** An access of a value: each point its own element, each result its own, or neither. */
interface Access extends Area {
  readonly element: "point" | "result" | "any";
  readonly written: boolean;
}

/** The accesses of a kernel that reduces the axes of `first`, or none; `area` returns the memory of a value. */
function accessesOf(area: (value: ValueId) => Area, kernel: Kernel, first: Kernel): Access[] {
  const access = (value: ValueId, element: Access["element"], written: boolean): Access => (
    { ...area(value), element, written }
  );
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
      if (node.kind === "randomBits") return [access(at(inputs, node.key), "any", false)];
      if (node.kind !== "load") return [];
      const value = at(inputs, node.input), { view } = node;
      if (isIdentity(view, over)) return [access(value, isMain ? "point" : "result", false)];
      const isOwn = isMain && view.offset === 0 && sameShape(view.strides, ownStrides);
      return [access(value, isOwn ? "result" : "any", false)];
    });
  return [
    ...read(nodes, space, true),
    ...read(reduce?.epilogue ?? [], kept, false),
    ...stores.map(({ output }) => access(output, "point", true)),
    ...(reduce?.stores ?? []).map(({ output }) => access(output, "result", true)),
  ];
}

/** Tests whether two accesses touch no common memory, only read it, or both touch only the elements of their own results. */
function isWithinResults(a: Access, b: Access): boolean {
  const meet = a.buffer === b.buffer && a.from < b.to && b.from < a.to;
  if (!meet || (!a.written && !b.written)) return true;
  return a.element !== "any" && a.element === b.element && a.from === b.from && a.to === b.to;
}
