import type { ValueId } from "../../trace/program.ts";
import addText from "../../../kernels/webgpu/partial_sums.wgsl" with { type: "text" };
import { FOLD, levelsOf } from "./fused_loops.ts";
import { type Call, runs } from "./call.ts";
import { specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

// Sums that are too long for one invocation, or too few to keep the device busy, are computed in parts. The partial sums
// are stored consecutively in the step's workspace.

/** The terms that one invocation adds in sequence before it adds their sum to the total. */
export const FEW = 64;
/** The fewest terms of a part: fewer do not pay for its overhead. */
const MIN_TERMS = 64;
/** The most terms added in sequence, memory permitting: rounding errors grow with their number. */
export const MAX_TERMS = 4096;
/** The most elements of partial sums (16 MiB). */
export const AFFORDABLE = 1 << 22;

/**
 * The number of parts of each of `size` sums of `terms` terms, four terms an iteration, chosen so that `tiles`
 * invocations for each part keep the device busy.
 */
export function partsOf(tiles: number, terms: number, size: number, variant: Variant): number {
  const wanted = Math.ceil(variant.busy / Math.max(1, tiles)), useful = Math.floor(terms / MIN_TERMS);
  const affordable = Math.floor(AFFORDABLE / Math.max(1, size));
  const parts = Math.max(Math.min(wanted, useful), Math.ceil(terms / MAX_TERMS));
  return Math.max(1, Math.min(parts, affordable), Math.ceil(terms / 4 / variant.run));
}

/** Bytes of workspace for the partial sums of `size` sums in `parts` parts. */
export function partialSumBytes(parts: number, size: number): number {
  return levelsOf(parts).reduce((a, b) => a + b, 0) * size * 4;
}

/** Adds the partial sums of `size` sums, from byte `from` of the workspace on, and writes them, times `scale`, to `output`. */
export function addPartialSums(
  output: ValueId,
  size: number,
  parts: number,
  variant: Variant,
  from: number = 0,
  scale: number = 1,
): Call[] {
  const levels = levelsOf(parts);
  const units = Math.ceil(size / 4), vector = size % 4 === 0;
  let start = from / 4;
  return levels.map((count, level) => {
    const next = levels[level + 1];
    const last = next === undefined;
    const constants = {
      ...{ SIZE: size, UNITS: units, COUNT: count, FOLD, FROM: start, TO: start + count * size, LAST: last },
      SCALE: `f32(${scale})`,
    };
    start += count * size;
    const bindings = [
      runs("parts", "workspace", vector, !last),
      ...(last ? [runs("y", output, vector, true)] : []),
    ];
    return {
      label: "addParts",
      text: [...bindings.map(({ text }) => text), specialise(addText, constants)].join("\n"),
      bindings,
      count: last ? units : units * next,
      group: variant.group,
    };
  });
}
