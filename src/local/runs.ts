import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";

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
  // The best division of the first `end` modules into so many runs, for each end, one more run at a time.
  let best: (Division | undefined)[] = Array.from(
    { length: modules + 1 },
    (_, end): Division | undefined => end === 0 ? { slowest: 0, runs: [] } : undefined,
  );
  for (let runs = 1; runs <= count; runs++) {
    const before = best;
    best = before.map((_, end) => {
      let found: Division | undefined;
      for (let first = runs - 1; first < end; first++) {
        const rest = before[first];
        if (rest === undefined) continue;
        const run = { first, end };
        const slowest = Math.max(rest.slowest, timeOf(run));
        if (found !== undefined && slowest >= found.slowest || !fits(run)) continue;
        found = { slowest, runs: [...rest.runs, run] };
      }
      return found;
    });
  }
  const found = best[modules];
  if (found !== undefined) return [...found.runs];
  throw new LocalgradError(
    `parallel: no division of ${modules} modules between ${count} processes keeps to ${limit} bytes each; use more ` +
      "processes, smaller batches or more modules",
  );
}

/** A division of the first modules. */
interface Division {
  /** The time of its slowest run. */
  readonly slowest: number;
  readonly runs: readonly ModuleRun[];
}
