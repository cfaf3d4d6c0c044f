/** What several processes are worth: their images a second and their peaks, as multiples of those of one. */

import type { Timing } from "./peers/common.ts";

/** A measured system. */
export interface Measured {
  readonly system: string;
  /** Milliseconds of a step. */
  readonly fastest: number;
  readonly median: number;
  readonly memory?: Timing["memory"] | undefined;
}

/** A line for each system of several processes or threads: its multiples of the same system's 1 × 1. */
export function multiples(measured: readonly Measured[]): string[] {
  return measured.flatMap(({ system, fastest, median, memory }) => {
    const family = system.split(", ").slice(0, 2).join(", ");
    const one = measured.find((each) => each.system === `${family}, 1 × 1`);
    if (one === undefined || one.system === system) return [];
    const peak = one.memory?.planned[0];
    const peaks = memory === undefined || peak === undefined || memory.planned.length === 1
      ? ""
      : `; peaks planned ${of(memory.planned, peak)}, held ${of(memory.held, one.memory!.held[0]!)} of its`;
    const times = [one.fastest / fastest, one.median / median].map((times) => times.toFixed(2));
    return [
      `${system}: ${times[0]} × the images/s of 1 × 1 by the fastest turn, ${
        times[1]
      } × by the median${peaks}`,
    ];
  });
}

function of(values: readonly number[], whole: number): string {
  return values.map((value) => (value / whole).toFixed(3)).join(" and ");
}
