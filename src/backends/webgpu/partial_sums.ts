import type { ValueId } from "../../trace/program.ts";
import addText from "../../../kernels/webgpu/partial_sums.wgsl" with { type: "text" };
import { FOLD, levelsOf } from "./fused_loops.ts";
import { type Call, runs } from "./call.ts";
import { specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

// Sums that are too long for one invocation, or of which there are too few to keep the machine busy, are made in parts,
// which lie one after the other in the step's workspace.

/** A part takes in at least this many terms, or its own overhead outweighs it. */
const MIN_TERMS = 64;
/** Terms added one after the other, where the parts of more are affordable: rounding errors grow with them. */
const MAX_TERMS = 4096;
/** Elements of partial sums that are affordable (16 MiB). */
const AFFORDABLE = 1 << 22;

/**
 * How many parts each of `size` sums of `terms` is made in, four terms an iteration, so that `tiles` invocations for
 * each part keep the machine busy.
 */
export function partsOf(tiles: number, terms: number, size: number, variant: Variant): number {
  const wanted = Math.ceil(variant.busy / Math.max(1, tiles)), useful = Math.floor(terms / MIN_TERMS);
  const affordable = Math.floor(AFFORDABLE / Math.max(1, size));
  const parts = Math.max(Math.min(wanted, useful), Math.ceil(terms / MAX_TERMS));
  return Math.max(1, Math.min(parts, affordable), Math.ceil(terms / 4 / variant.run));
}

/** Bytes of workspace for `parts` of each of `size` sums. */
export function partialSumBytes(parts: number, size: number): number {
  return levelsOf(parts).reduce((a, b) => a + b, 0) * size * 4;
}

/** Adds the parts of `size` sums, from byte `from` of the workspace on, to `output`, times `scale`. */
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
    const last = level === levels.length - 1;
    const constants = {
      ...{ SIZE: size, UNITS: units, COUNT: count, FOLD, FROM: start, TO: start + count * size, LAST: last },
      SCALE: `f32(${scale})`,
    };
    start += count * size;
    const bound = [
      runs("parts", "workspace", vector, !last),
      ...(last ? [runs("y", output, vector, true)] : []),
    ];
    return {
      label: "addParts",
      text: [...bound.map(({ text }) => text), specialise(addText, constants)].join("\n"),
      bindings: bound,
      count: last ? units : units * levels[level + 1],
      group: variant.group,
    };
  });
}
