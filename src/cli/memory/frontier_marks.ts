import { at } from "../../base/at.ts";

/** What a way costs, and the error that it is known to reach. */
export interface Costs {
  readonly peakBytes: number;
  readonly seconds: number;
  readonly error?: number;
}

/** Errors that differ by less than a point are not told apart: seeds differ by more. */
export const POINT = 0.01;

/** Tests whether no other of several ways needs as little in less time, or takes as little time with less. */
export function isBest(way: Costs, all: readonly Costs[]): boolean {
  return !all.some((other) =>
    other.peakBytes <= way.peakBytes && other.seconds <= way.seconds &&
    (other.peakBytes < way.peakBytes || other.seconds < way.seconds)
  );
}

/**
 * Returns the ways of known error that are worth their cost: for each that is left out, one is returned that needs no more
 * bytes, takes no more time, and has an error less than a point higher. That one is itself worth its cost, or errors could
 * rise by a point again and again.
 */
export function worthwhile<W extends Costs>(ways: readonly W[]): Set<W> {
  const known = ways.flatMap(({ error }, i) => error === undefined ? [] : [{ way: at(ways, i), error }]);
  const cheapest = known.toSorted((a, b) =>
    a.way.peakBytes - b.way.peakBytes || a.way.seconds - b.way.seconds || a.error - b.error
  );
  const kept: typeof known = [];
  for (const each of cheapest) {
    const isCovered = kept.some(({ way, error }) =>
      way.seconds <= each.way.seconds && error < each.error + POINT // and no more bytes, as it came before
    );
    if (!isCovered) kept.push(each);
  }
  return new Set(kept.map(({ way }) => way));
}
