import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";

/** A run of consecutive modules: `first` to `end − 1`. */
export interface ModuleRun {
  /** The index of its first module. */
  readonly first: number;
  /** The index after its last. */
  readonly end: number;
}

/** The costs of dividing modules into runs. */
export interface RunCosts {
  /** The time of each module, in any unit. */
  readonly times: readonly number[];
  /** The bytes that the process of a run needs; default 0. */
  bytes?(run: ModuleRun): number;
  /** The most bytes of a process; default any number. */
  readonly limit?: number;
}

/**
 * Divides modules into consecutive runs, one for each process, so that the slowest run is as fast as possible and none
 * needs more than the limit. A pipeline is as fast as its slowest process.
 *
 * @throws {LocalgradError} if there are fewer modules than runs, or no division keeps to the limit.
 */
export function runsOf({ times, bytes = () => 0, limit = Infinity }: RunCosts, count: number): ModuleRun[] {
  const modules = times.length;
  if (count > modules) {
    throw new LocalgradError(
      `parallel: ${count} processes share ${modules} module${
        modules === 1 ? "" : "s"
      }, but each needs at least one; ` +
        `cut the network into more modules, or give the processes shares of the batch: "data"`,
    );
  }
  const sums = [0];
  for (const time of times) sums.push(at(sums, sums.length - 1) + time);
  const timeOf = ({ first, end }: ModuleRun) => at(sums, end) - at(sums, first);
  const fitting = new Map<string, boolean>();
  const fits = (run: ModuleRun) => {
    const key = `${run.first} ${run.end}`;
    const known = fitting.get(key) ?? (limit === Infinity || bytes(run) <= limit);
    fitting.set(key, known);
    return known;
  };
  const found = bestDivision(modules, count, timeOf, fits);
  if (found !== undefined) return found.runs;
  const least = bestDivision(modules, count, bytes)?.most;
  throw new LocalgradError(
    `parallel: no division of ${modules} modules between ${count} processes keeps to ${limit} bytes each; the least is ` +
      `${least} bytes. Allow that much, or use more processes, smaller batches or more modules`,
  );
}

/** Divides modules into consecutive runs so that the largest needs as few bytes as possible. */
export function lightestRuns(bytes: (run: ModuleRun) => number, modules: number, count: number): ModuleRun[] {
  return bestDivision(modules, count, bytes)?.runs ?? [];
}

/** Finds the division whose most costly run costs least, of those whose runs all fit. */
function bestDivision(
  modules: number,
  count: number,
  costOf: (run: ModuleRun) => number,
  fits: (run: ModuleRun) => boolean = () => true,
): Division | undefined {
  // The best division of the first `end` modules into so many runs, for each end, one more run at a time.
  let best: (Division | undefined)[] = Array.from(
    { length: modules + 1 },
    (_, end): Division | undefined => end === 0 ? { most: 0, runs: [] } : undefined,
  );
  for (let runs = 1; runs <= count; runs++) {
    const before = best;
    best = before.map((_, end) => {
      let found: Division | undefined;
      for (let first = runs - 1; first < end; first++) {
        const rest = before[first];
        if (rest === undefined) continue;
        const run = { first, end };
        const most = Math.max(rest.most, costOf(run));
        if (found !== undefined && most >= found.most || !fits(run)) continue;
        found = { most, runs: [...rest.runs, run] };
      }
      return found;
    });
  }
  return best[modules];
}

/** A division of the first modules. */
interface Division {
  /** The cost of its most costly run. */
  readonly most: number;
  readonly runs: ModuleRun[];
}
