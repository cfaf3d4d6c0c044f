import { LocalgradError } from "../base/errors.ts";
import { expectOptions, shown } from "../base/expect.ts";
import { expectSpeeds, type Speeds } from "./time.ts";

/** Recomputation within a limit: as much as brings the peak of the whole plan to it, at the least predicted time. */
export interface RecomputeWithin {
  /**
   * The most bytes of a plan, {@link MemoryReport.peakBytes}. If no plan is that small, the least one that was found is
   * taken, so compare its peak.
   */
  readonly limit: number;
  /** The device's speeds, which price what is recomputed; default {@link TYPICAL}. */
  readonly speeds?: Speeds;
}

/**
 * How much to recompute in the backward pass instead of keeping it in memory. `false`: only what costs no traffic.
 * `true`: element-wise results too (batch norm, ReLU), where that lowers the peak. Within a limit: as little as possible, but
 * also results of convolutions and products where the limit demands it.
 */
export type Recompute = boolean | RecomputeWithin;

/** Refuses anything but a form of {@link Recompute}; `who` begins the message. */
export function expectRecompute(who: string, recompute: Recompute): void {
  if (typeof recompute === "boolean") return;
  if (typeof recompute !== "object" || recompute === null) {
    throw new LocalgradError(
      `${who}: recompute must be true, false or a limit such as { limit: 2 * 2 ** 30 }, not ${
        shown(recompute)
      }`,
    );
  }
  expectOptions(`${who}: recompute`, recompute, { limit: "number", speeds: "object?" });
  if (!(recompute.limit > 0)) {
    throw new LocalgradError(
      `${who}: the limit of recompute must be a number of bytes above 0, not ${shown(recompute.limit)}`,
    );
  }
  if (recompute.speeds !== undefined) expectSpeeds(`${who}: recompute`, recompute.speeds);
}
