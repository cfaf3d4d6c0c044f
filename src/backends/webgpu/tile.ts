import type { Call, Runs } from "./call.ts";
import { type Constants, specialise } from "./template.ts";

// Register-blocked kernels, for convolutions and matrix products: each invocation computes a tile of the result in 4×4
// blocks.

/** One axis of a result in tiles. */
export interface Tiling {
  /** 4×4 blocks of a tile along the axis. */
  readonly blocks: number;
  /** Tiles that cover the axis. */
  readonly tiles: number;
}

/** Cuts an axis of `extent` elements into tiles of at most `most` blocks, with the fewest blocks beyond its end. */
export function tile(extent: number, most: number): Tiling {
  const needed = Math.max(1, Math.ceil(extent / 4));
  let best = { blocks: 1, tiles: needed };
  for (let blocks = 2; blocks <= Math.min(most, needed); blocks++) {
    const tiles = Math.ceil(needed / blocks);
    if (tiles * blocks <= best.tiles * best.blocks) best = { blocks, tiles };
  }
  return best;
}

/** Tests whether all extents are multiples of 4, so that runs of four elements start at multiples of 4. */
export function inFours(...extents: readonly number[]): boolean {
  return extents.every((extent) => extent % 4 === 0);
}

/** The dispatch of a register-blocked kernel. */
export function blockedCall(
  label: string,
  template: string,
  constants: Constants,
  bindings: readonly Runs[],
  count: number,
  group: number,
): Call {
  const text = [...bindings.map(({ text }) => text), specialise(template, constants)].join("\n");
  return { label, text, bindings, count, group };
}
