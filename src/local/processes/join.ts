import { launcherOf } from "../../../ffi/mpi_launcher.ts";
import { thisHost } from "../../../ffi/host.ts";
import { agreeOn } from "../../backends/agreement.ts";
import { alone, type Processes } from "../../backends/communicator.ts";
import { defaultThreads } from "../../backends/cpu/thread_count.ts";
import type { World } from "../../backends/mpi/world.ts";
import { VERSION } from "../../base/version.ts";
import { expectBetween, expectObject, expectOptions, expectWhole } from "../../base/expect.ts";
import { type Layout, layoutOf, type Parallel, type Place, placeOfRank } from "./layout.ts";

/** Options of {@link join}. */
export interface JoinOptions {
  /** How the processes divide the work, see {@link Parallel}; a process alone needs none, and ignores the numbers. */
  parallel?: Parallel;
  /**
   * Threads of each process, which devices take as their default; default `LOCALGRAD_THREADS`, else an equal share of the
   * machine's cores.
   */
  threads?: number;
  /**
   * Seconds after which a wait for another process ends with an error that names what it waited for; default none. A
   * process that waits longer than a step, an evaluation and a save take has lost another.
   */
  timeLimit?: number;
}

/** The processes of a run, of which this is one. */
export class Joined implements Processes {
  readonly rank: number;
  readonly size: number;
  readonly layout: Layout;
  readonly place: Place;
  readonly threads: number | undefined;
  readonly communicators: Processes["communicators"];
  readonly #world: World | undefined;

  /** Use {@link join}. */
  constructor(layout: Layout, world?: World) {
    expectObject("Joined: the layout", layout, { data: "number", modules: "number" });
    this.#world = world;
    this.rank = world?.rank ?? 0;
    this.size = world?.size ?? 1;
    this.layout = layout;
    this.threads = world?.threads;
    const { data, modules } = this.place = placeOfRank(layout, this.rank);
    this.communicators = world === undefined ? { world: alone, data: alone, modules: alone } : {
      world: world.communicator,
      data: layout.data === 1 ? alone : world.split("data", modules, data),
      modules: layout.modules === 1 ? alone : world.split("modules", data, modules),
    };
  }

  /**
   * Ends the work of all processes; all call it, as the last of their work, and it waits for the others. Not in `finally`:
   * a process that ends without it, such as by an error, ends all others, so that a run with a lost process never looks
   * like a success. Alone it does nothing.
   *
   * @throws {LocalgradError} after an error of training, or if a transfer is not done.
   */
  leave(): void {
    this.#world?.leave();
  }

  abandon(): void {
    this.#world?.abandon();
  }
}

/**
 * Joins the processes that `mpirun`, `srun` or another launcher of MPI started. A process that none started is alone: it
 * loads no library and needs no permission, so that the same script runs in one process and in many. Of several, each
 * needs `--allow-ffi --allow-env --allow-read`, to find MPI and its launcher.
 *
 * @throws {LocalgradError} if the layout has another number of processes, MPI is missing or not the launcher's, or this
 * process has joined before.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim, processes } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const team = await processes.join({ parallel: "modules" }); // mpirun -n 2 deno run …
 * await using device = await devices.open("cpu", { processes: team });
 * using trainer = await local.trainer({
 *   device,
 *   model: models.resnet8(),
 *   modules: 3,
 *   method: local.man(local.dgl()),
 *   optimizer: optim.sgd({ momentum: 0.9 }),
 *   batch: 32,
 * });
 * await trainer.fit(data.shapes({ train: 64, test: 32 }), { epochs: 1 }); // progress of process 0
 * assertEquals(trainer.stepsDone, 2);
 * team.leave();
 * ```
 */
export async function join(options: JoinOptions = {}): Promise<Joined> {
  expectOptions("processes.join", options, { parallel: "any?", threads: "number?", timeLimit: "number?" });
  const { parallel, timeLimit } = options;
  if (options.threads !== undefined) expectWhole("processes.join: threads", options.threads);
  if (timeLimit !== undefined) expectBetween("processes.join: timeLimit", timeLimit, 0);
  const launcher = launcherOf(thisHost());
  if (launcher === undefined || launcher.size === 1) return new Joined(layoutOf(parallel, 1));
  const { joinWorld } = await import("../../backends/mpi/world.ts");
  const { threads: own, from } = defaultThreads();
  const world = joinWorld({ threads: options.threads ?? (from === undefined ? undefined : own), timeLimit });
  agreeOn(world.communicator, "the", { "version of localgrad": VERSION, "option parallel": parallel });
  return new Joined(layoutOf(parallel, world.size), world);
}
