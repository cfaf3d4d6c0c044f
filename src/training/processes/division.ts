import type { Processes } from "../../backends/communicator.ts";
import { at } from "../../base/at.ts";
import { divide, type DivideOptions } from "../../local/processes/division.ts";
import type { Exchange } from "../../local/processes/exchange.ts";
import { expectDivisible, partOf } from "../../local/processes/part.ts";
import type { ModuleRun } from "../../local/processes/runs.ts";
import type { Setup } from "../../local/setup.ts";

/** How the processes of a run divide a network. */
export interface Division {
  /** The processes. */
  readonly processes: Processes;
  /** The modules of each process of a pipeline. */
  readonly runs: readonly ModuleRun[];
  /** The part of this process. */
  readonly own: Setup;
}

/**
 * Divides a network between processes, all of which call it: the modules in runs whose predicted times are balanced. Process
 * 0 predicts them, so that all have the same.
 *
 * @throws {LocalgradError} if there are fewer modules than processes of a pipeline.
 */
export function divisionOf(
  setup: Setup,
  processes: Processes,
  options: Omit<DivideOptions, "layout"> & { readonly exchange?: Exchange },
): Division {
  const { layout, place } = processes;
  expectDivisible(setup, layout);
  const runs = sharedRuns(setup, processes, options);
  const { depth, exchange = "exact" } = options;
  return {
    ...{ processes, runs },
    own: partOf(setup, { layout, place, runs, exchange, ...(depth === undefined ? {} : { depth }) }),
  };
}

function sharedRuns(
  setup: Setup,
  { rank, layout, communicators: { world } }: Processes,
  options: Omit<DivideOptions, "layout">,
): ModuleRun[] {
  const { modules: count } = layout;
  const refused = count > setup.modules.length; // by all
  const ends = new Int32Array(count);
  if (rank === 0 || count === 1 || refused) {
    ends.set(divide(setup, { ...options, layout }).map(({ end }) => end));
  }
  if (count > 1) world.broadcast(new Uint8Array(ends.buffer), 0).wait();
  return Array.from(ends, (end, i) => ({ first: i === 0 ? 0 : at(ends, i - 1), end }));
}
