import { expectOptions } from "../base/expect.ts";
import type { Pair } from "./ops.ts";

/** Padding of an image, in pixels: one number for every side, or `[[top, bottom], [left, right]]`. */
export type Padding = number | readonly [Pair, Pair];

/** One number for both axes, or `[height, width]`. */
export type Both = number | Pair;

/** Options of `maxPool` and `avgPool`. */
export interface PoolOptions {
  /** Size of the window, in pixels. */
  window: Both;
  /** Step of the window, in pixels; default: its size. */
  strides?: Both;
  /** Padding; default 0. */
  padding?: Padding;
}

/** Refuses options that are not those of a pooling; `who` begins the message. */
export function expectPoolOptions(who: string, options: PoolOptions): void {
  expectOptions(who, options, { window: "any", strides: "any?", padding: "any?" });
}
