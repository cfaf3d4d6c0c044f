/**
 * The processes of a command that MPI's launcher started many times.
 *
 * @module
 */

import { thisHost } from "../../ffi/host.ts";
import { launcherOf } from "../../ffi/mpi_launcher.ts";
import { type Agreed, agreeOn } from "../backends/agreement.ts";
import { sharedBytes } from "../backends/shared_bytes.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Exchange } from "../local/processes/exchange.ts";
import { type Parallel, parallelFrom } from "../local/processes/layout.ts";
import { join, type Joined } from "../local/processes/join.ts";
import type { TrainerOptions } from "../training/trainer_options.ts";
import { type Flags, type Given, wholeNumber } from "./flags/flags.ts";
import { note, silence } from "./terminal.ts";

/** The flags for several processes. */
export const teamFlags = {
  parallel: {
    value: "data|modules|DxM",
    help:
      "what the processes that mpirun or srun started divide: each batch, the modules, or both, such as 2x4",
  },
  exchange: {
    value: "exact|stale|stale:N",
    help:
      "with --parallel modules, the block of the next process that MAN tracks: that of the same step, whose " +
      "results are those of one process, or the newest that has arrived, sent after every step or every N; default exact",
  },
  queue: {
    value: "N",
    help: "with --parallel modules, the most batches whose features wait for the next process; default 1",
  },
  "time-limit": {
    value: "N|Nm|Nh",
    help:
      "with several processes, end with an error once another keeps this one waiting for N seconds, minutes or hours: " +
      "longer than a step, an evaluation and a save take; default never",
  },
} as const satisfies Flags;

/** What the processes of a trainer exchange, as its options. */
export function exchangeOf(
  { exchange, queue }: Given<typeof teamFlags>,
): Pick<TrainerOptions, "exchange" | "depth"> {
  return {
    ...(exchange === undefined ? {} : { exchange: exchangeFrom(exchange) }),
    ...(queue === undefined ? {} : { depth: wholeNumber("queue", queue, 1) }),
  };
}

/** The exchange that a flag names: `exact`, `stale` or `stale:4`. */
export function exchangeFrom(flag: string): Exchange {
  if (flag === "exact" || flag === "stale") return flag;
  const [, every] = /^stale:([1-9][0-9]*)$/.exec(flag) ?? [];
  if (every !== undefined) return { every: Number(every) };
  throw new LocalgradError(`--exchange must be exact, stale or, for example, stale:4, not "${flag}"`);
}

/** The seconds that `--time-limit` names: `90`, `10m` or `2h`. */
export function timeLimitFrom(flag: string): number {
  const [, number, unit] = /^([0-9]+(?:\.[0-9]+)?)([mh]?)$/.exec(flag) ?? [];
  const seconds = Number(number) * (unit === "h" ? 3600 : unit === "m" ? 60 : 1);
  if (seconds > 0 && Number.isFinite(seconds)) return seconds;
  throw new LocalgradError(
    `--time-limit must be a number of seconds, such as 90, of minutes, such as 10m, or of hours, such as 2h, not "${flag}"`,
  );
}

/** The layout that a flag names. */
export function parallelOf(flag: string): Parallel {
  const parallel = parallelFrom(flag);
  if (parallel !== undefined) return parallel;
  throw new LocalgradError(`--parallel must be data, modules or two numbers such as 2x4, not "${flag}"`);
}

/** True once this process joins the others of its launcher. */
let joining = false;

/** Flags that may differ: paths on each machine, and what changes no result. */
const OWN: readonly string[] = ["data", "recompute", "time-limit"];

/** The flags that all processes must be given alike, as they appear in a message. */
function sharedFlags(given: Given<Flags>): Agreed {
  const alike = Object.entries(given).filter(([name, value]) => value !== undefined && !OWN.includes(name));
  return Object.fromEntries(alike.map(([name, value]) => [`flag --${name}`, value]));
}

/** Joins the processes of the launcher, of which the first alone prints anything but errors. */
export async function joinTeam(given: Given<typeof teamFlags & Flags>): Promise<Joined> {
  const { parallel: flag, "time-limit": limit } = given;
  const options = {
    ...(flag === undefined ? {} : { parallel: parallelOf(flag) }),
    ...(limit === undefined ? {} : { timeLimit: timeLimitFrom(limit) }),
  };
  joining = true;
  const team = await join(options);
  agreeOn(team.communicators.world, "the", sharedFlags(given));
  if (team.rank > 0) silence(true);
  if (flag !== undefined && team.size === 1) {
    note(`--parallel ${flag}: one process; deno task train:mpi --processes 2, mpirun or srun start several`);
  }
  return team;
}

/** Runs what only one process at a time may do, such as a download: the first process first, then the others. */
export async function firstFirst<T>(team: Joined, run: () => Promise<T>): Promise<T> {
  if (team.size === 1) return await run();
  const early = team.rank === 0 ? await run() : undefined;
  sharedBytes(team, new Uint8Array(0));
  return early ?? await run();
}

/** Milliseconds in which the first process may report an error that all have; its end ends the others. */
const HEAD_START = 1000;

/**
 * Lets the first process of several tell an error. Returns whether this one should tell its own: before they join, all have the same.
 */
export async function mayTell(): Promise<boolean> {
  silence(false);
  const { rank = 0 } = launcherOf(thisHost()) ?? {};
  if (rank > 0) await new Promise((resolve) => setTimeout(resolve, HEAD_START));
  return rank === 0 || joining;
}
