import { at } from "../base/at.ts";
import type { Kernel, View } from "../compile/kernel.ts";
import type { Shape } from "../trace/dtype.ts";

// Index arithmetic of fused kernels, in the syntax that WGSL and CUDA C share.

/** A space as a printed kernel walks it. */
export interface Walk<Lanes extends number = number> {
  /** The extents of its axes. */
  readonly shape: Shape;
  /** The variable that holds the index of each axis; the last one counts in steps of `lanes`. */
  readonly axes: readonly string[];
  /** Neighbours along the last axis that one access covers. */
  readonly lanes: Lanes;
}

/** The axes of a kernel's space that its reduction keeps; all of them if it has none. */
export function keptShape({ space, reduce }: Kernel): number[] {
  return space.filter((_, axis) => !reduce?.axes.includes(axis));
}

/** One variable per axis: `i0`, `i1` …. */
export function axisNames(count: number): string[] {
  return Array.from({ length: count }, (_, axis) => `i${axis}`);
}

/** The number of steps along each axis: its extent, the last one divided by the lanes. */
export function stepsOf({ shape, lanes }: Walk): number[] {
  return shape.map((extent, axis) => axis === shape.length - 1 ? extent / lanes : extent);
}

/**
 * Lines that split a row-major index into one index per axis. `declare` turns the definitions of one axis, such as
 * `i1 = id % 4u`, into lines.
 */
export function decode(
  index: string,
  extents: readonly number[],
  axes: readonly string[],
  declare: (definitions: readonly string[]) => readonly string[],
): string[] {
  const lines: string[] = [];
  let rest = index;
  for (const [axis, name] of [...axes.entries()].reverse()) {
    if (axis === 0) {
      lines.push(...declare([`${name} = ${rest}`]));
    } else {
      const extent = Math.max(1, at(extents, axis));
      lines.push(...declare([`${name} = ${rest} % ${extent}u`, `r${name} = ${rest} / ${extent}u`]));
      rest = `r${name}`;
    }
  }
  return lines;
}

/** The stride of a view along the last axis; 0 over a single point. */
export function lastStride({ strides }: View): number {
  return strides.at(-1) ?? 0;
}

/** A number modulo 2³², the arithmetic of printed indices, so that negative strides work. */
export function word(value: number): string {
  return `${value >>> 0}u`;
}

/** Tests whether each access of a view covers contiguous elements, starting at a multiple of their number. */
export function isRun(view: View, { lanes }: Walk): boolean {
  return lanes > 1 && lastStride(view) === 1 && view.offset % lanes === 0 &&
    view.strides.slice(0, -1).every((stride) => stride % lanes === 0);
}

/** The element that a view reads at the walk's indices: the first of an access's lanes. */
export function element({ offset, strides }: View, { axes, lanes }: Walk): string {
  return affine(
    offset,
    strides.map((stride, axis) => axis === strides.length - 1 ? stride * lanes : stride),
    axes,
  );
}

/** `offset + Σ strides[axis] · axes[axis]`, without the terms that are 0. */
export function affine(offset: number, strides: readonly number[], axes: readonly string[]): string {
  const terms = strides.flatMap((stride, axis) =>
    stride === 0 ? [] : [stride === 1 ? axes[axis] : `${axes[axis]} * ${word(stride)}`]
  );
  if (offset !== 0 || terms.length === 0) terms.push(word(offset));
  return terms.join(" + ");
}
