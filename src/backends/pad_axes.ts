import type { Shape } from "../trace/dtype.ts";
import type { OpAttrs } from "../trace/ops.ts";

/** An axis that is padded: its extent before, zeros in front, behind and between two neighbours. */
export interface PadAxis {
  extent: number;
  readonly low: number;
  readonly high: number;
  readonly interior: number;
}

/** The axes of a `pad`, neighbours that get no zeros joined into one; at least one. */
export function padAxes(shape: Shape, attrs: OpAttrs["pad"]): PadAxis[] {
  const axes: PadAxis[] = [];
  let joinable = false;
  for (const [axis, extent] of shape.entries()) {
    const [low, high, interior] = [attrs.low[axis], attrs.high[axis], attrs.interior[axis]];
    const plain = low === 0 && high === 0 && interior === 0;
    if (plain && joinable) axes[axes.length - 1].extent *= extent;
    else axes.push({ extent, low, high, interior });
    joinable = plain;
  }
  return axes.length > 0 ? axes : [{ extent: 1, low: 0, high: 0, interior: 0 }];
}

/** What an axis is long with its zeros. */
export function paddedExtent({ extent, low, high, interior }: PadAxis): number {
  return low + extent + Math.max(0, extent - 1) * interior + high;
}
