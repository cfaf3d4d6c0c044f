import { at } from "../base/at.ts";
import type { Shape } from "../trace/dtype.ts";
import type { OpAttrs } from "../trace/ops.ts";

/** A padded axis: its extent before padding, and the zeros before it, after it and between two neighbours. */
export interface PadAxis {
  extent: number;
  readonly low: number;
  readonly high: number;
  readonly interior: number;
}

/** The axes of a `pad`, with neighbouring axes that get no zeros merged; at least one axis. */
export function padAxes(shape: Shape, attrs: OpAttrs["pad"]): PadAxis[] {
  const axes: PadAxis[] = [];
  let mergeable = false;
  for (const [axis, extent] of shape.entries()) {
    const [low, high, interior] = [at(attrs.low, axis), at(attrs.high, axis), at(attrs.interior, axis)];
    const plain = low === 0 && high === 0 && interior === 0;
    const last = axes.at(-1);
    if (plain && mergeable && last !== undefined) last.extent *= extent;
    else axes.push({ extent, low, high, interior });
    mergeable = plain;
  }
  return axes.length > 0 ? axes : [{ extent: 1, low: 0, high: 0, interior: 0 }];
}

/** The extent of an axis after padding. */
export function paddedExtent({ extent, low, high, interior }: PadAxis): number {
  return low + extent + Math.max(0, extent - 1) * interior + high;
}
