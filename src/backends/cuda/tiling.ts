import type { Kernel } from "../../compile/kernel.ts";
import { type DType, sizeOf } from "../../trace/dtype.ts";
import { keptShape } from "../index_text.ts";
import { THREADS } from "./call.ts";

/** The number of neighbouring elements that one access covers. */
export type Lanes = 1 | 4 | 8;

/** The lanes of accesses along an axis: the most, up to `widest`, that divide its extent. */
export function lanesOf(extent: number, widest: Lanes): Lanes {
  return widest === 8 && extent % 8 === 0 ? 8 : extent % 4 === 0 ? 4 : 1;
}

/** The lanes that make 16 bytes of the smallest elements; larger elements then take two accesses. */
export function widestOf(elements: readonly { readonly dtype: DType }[]): Lanes {
  return elements.some(({ dtype }) => dtype === "bf16") ? 8 : 4;
}

/**
 * Tests whether the last axis of more than one element is reduced: threads are then distributed over the terms of one
 * result.
 */
export function alongTerms(kernel: Kernel): boolean {
  const last = kernel.space.findLastIndex((extent) => extent !== 1);
  return last >= 0 && kernel.reduce?.axes.includes(last) === true;
}

/**
 * Threads that keep a large card busy, such as the 2,048 of each of 132 multiprocessors: an approximation, the same for
 * every card, so that results do not depend on it.
 */
const BUSY = 2 ** 18;
/** Terms per thread below which another thread does not pay. */
const TERMS_PER_THREAD = 16;
/** The most parts of a reduction; one block folds them. */
const MAX_PARTS = 512;

/**
 * The number of terms that a thread loads before it folds the first of them, given the accesses of each: more hide the
 * memory's latency, and take registers.
 */
export function termsAtOnce(accesses: number): number {
  return accesses <= 4 ? 4 : accesses <= 8 ? 2 : 1;
}

/** The smallest power of two that is at least `x`. */
function powerOfTwo(x: number): number {
  return 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(1, x))));
}

/**
 * The number of parts of a reduction: different blocks fold the parts, and the last of them folds their results. It
 * depends only on numbers of elements, which do not change when axes are merged between planning and printing.
 */
export function partsOf(kernel: Kernel): number {
  if (kernel.reduce === undefined) return 1;
  const results = sizeOf(keptShape(kernel));
  if (results === 0) return 1;
  const terms = sizeOf(kernel.space) / results;
  const lanes = alongTerms(kernel) ? 1 : lanesOf(results, widestOf(kernel.nodes));
  const { height } = tileOf(alongTerms(kernel), results / lanes, terms);
  const threads = Math.ceil(results / lanes) * height;
  return Math.max(
    1,
    Math.min(Math.ceil(BUSY / threads), Math.floor(terms / (height * TERMS_PER_THREAD)), MAX_PARTS),
  );
}

/** Scratch bytes of a fused kernel: the results of the parts of its reduction. */
export function fusedWorkspace(kernel: Kernel): number {
  const parts = partsOf(kernel);
  if (kernel.reduce === undefined || parts === 1) return 0;
  return parts * kernel.reduce.reductions.length * sizeOf(keptShape(kernel)) * 4;
}

/** The most terms of each result in a chain of kernels: one block does all of them, one pass after the other. */
export const MAX_CHAINED_TERMS = 2048;

/**
 * The tile of a block's threads: `width` results by `height` threads for the terms of each, both powers of two. In a
 * chain, where the number of blocks is that of tiles, a tile is narrow: 64 bytes of each row.
 */
export function tileOf(
  along: boolean,
  units: number,
  terms: number,
  isChain: boolean = false,
): { width: number; height: number } {
  if (along) {
    const height = Math.min(THREADS, powerOfTwo(terms / TERMS_PER_THREAD));
    return { width: THREADS / height, height };
  }
  // Neighbouring results are neighbours in memory: a warp reads them together.
  const width = Math.min(isChain ? 4 : 32, powerOfTwo(units));
  const height = Math.min(THREADS / width, powerOfTwo(terms / 4));
  return { width: THREADS / height, height };
}
