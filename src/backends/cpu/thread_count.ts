import { variable } from "../../base/environment.ts";
import { LocalgradError } from "../../base/errors.ts";
import { isWhole, shown } from "../../base/expect.ts";

/** The most threads: each has its own JavaScript engine, of some megabytes. */
export const MOST_THREADS = 1024;

/** A number of threads, and the variable that set it; without one it is the number of cores. */
export interface ThreadCount {
  readonly threads: number;
  readonly from?: string;
}

/**
 * The threads of the CPU backend without an option: `LOCALGRAD_THREADS`, else the number of cores, but no more than
 * `OMP_NUM_THREADS`. Of a list, which OpenMP takes for nested loops, the first counts; what is no list of positive
 * numbers is ignored, as OpenMP does (OpenMP 5.2, 21.1.2).
 */
export function defaultThreads(): ThreadCount {
  const asked = variable("LOCALGRAD_THREADS");
  if (asked !== undefined) {
    const threads = /^[0-9]+$/.test(asked) ? Number(asked) : NaN;
    if (isWhole(threads, 1, MOST_THREADS)) return { threads, from: "LOCALGRAD_THREADS" };
    throw new LocalgradError(
      `LOCALGRAD_THREADS must be a whole number from 1 to ${MOST_THREADS}, not ${shown(asked)}`,
    );
  }
  const cores = Math.min(navigator.hardwareConcurrency, MOST_THREADS);
  const limit = openmpThreads(variable("OMP_NUM_THREADS"));
  return limit < cores ? { threads: limit, from: "OMP_NUM_THREADS" } : { threads: cores };
}

/** The first number of OpenMP's list; Infinity if there is none. */
function openmpThreads(list: string | undefined): number {
  const entries = list?.split(",").map((entry) => entry.trim()) ?? [];
  const valid = entries.length > 0 && entries.every((entry) => /^\+?0*[1-9][0-9]*$/.test(entry));
  return valid ? Number(entries[0]) : Infinity;
}

/** Bytes of scratch memory reserved for each thread so that it has `bytes`. */
export function threadScratch(bytes: number): number {
  if (bytes === 0) return 0;
  return Math.ceil(bytes / 4096) * 4096 + 64; // so that the threads' buffers do not collide in the caches
}
