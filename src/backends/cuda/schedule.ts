import type { Kernel } from "../../compile/kernel.ts";
import { type DType, sizeOf } from "../../trace/dtype.ts";
import { keptShape } from "../index_text.ts";
import { THREADS } from "./call.ts";

/** How many neighbours an access takes in. */
export type Lanes = 1 | 4 | 8;

/**
 * Neighbours an access takes in: as many as `widest`, where the last axis comes in so many, which makes 16 bytes.
 */
export function lanesOf(extent: number, widest: Lanes): Lanes {
  return widest === 8 && extent % 8 === 0 ? 8 : extent % 4 === 0 ? 4 : 1;
}

/** Neighbours that make 16 bytes of the smallest elements; larger ones then take two accesses. */
export function widestOf(elements: readonly { readonly dtype: DType }[]): Lanes {
  return elements.some(({ dtype }) => dtype === "bf16") ? 8 : 4;
}

/** Whether the last axis that is more than one element is reduced: threads then lie along the terms of one result. */
export function alongTerms(kernel: Kernel): boolean {
  const last = kernel.space.findLastIndex((extent) => extent !== 1);
  return last >= 0 && kernel.reduce!.axes.includes(last);
}

/** Threads that keep a large card busy; it is only about right, and results do not depend on the card. */
const BUSY = 2 ** 17;
/** Terms that a thread folds by itself before it is worth another. */
const TERMS_A_THREAD = 16;
/** Parts at most: the second pass folds them. */
const MAX_PARTS = 512;

/** The least power of two that is not below `x`. */
function powerOfTwo(x: number): number {
  return 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(1, x))));
}

/**
 * In how many parts, folded by different blocks and then together, a reduction is done. It depends on counts of
 * elements only, which the merging of axes between planning and printing leaves alone.
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
    Math.min(Math.ceil(BUSY / threads), Math.floor(terms / (height * TERMS_A_THREAD)), MAX_PARTS),
  );
}

/** Scratch bytes of a fused kernel: what the parts of a reduction come to. */
export function fusedWorkspace(kernel: Kernel): number {
  const parts = partsOf(kernel);
  return parts === 1 ? 0 : parts * kernel.reduce!.reductions.length * sizeOf(keptShape(kernel)) * 4;
}

/** How a block's threads are laid over results (`width`) and over the terms of each (`height`): powers of two. */
export function tileOf(along: boolean, units: number, terms: number): { width: number; height: number } {
  if (along) {
    const height = Math.min(THREADS, powerOfTwo(terms / TERMS_A_THREAD));
    return { width: THREADS / height, height };
  }
  // Neighbouring results are neighbours in memory: a warp reads them together.
  const width = Math.min(32, powerOfTwo(units));
  const height = Math.min(THREADS / width, powerOfTwo(terms / 4));
  return { width: THREADS / height, height };
}
