/**
 * The processes that a launcher started, as MPI sees them.
 *
 * @module
 */
import { type Host, thisHost } from "../../../ffi/host.ts";
import { outI32, outU64, textOf } from "../../../ffi/memory.ts";
import { TEXT_BYTES } from "../../../ffi/mpi_abi.ts";
import { MPI_INSTALL, openMpiLibrary } from "../../../ffi/mpi_library.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectBetween, expectOptions, expectWhole } from "../../base/expect.ts";
import { MpiCommunicator } from "./communicator.ts";
import { checkMpi, type Library } from "./library.ts";
import type { UnderWay } from "./transfer.ts";
import { type Patience, pause } from "./waiting.ts";

/** Options of {@link joinWorld}. */
export interface WorldOptions {
  /** Threads of each process, which decide whether a wait may spin; default: an equal share of this machine's cores. */
  readonly threads?: number | undefined;
  /** Seconds after which a wait ends with an error that names what it waited for; default: none. */
  readonly timeLimit?: number | undefined;
  /** The largest count of one transfer, which tests lower; default: MPI's. */
  readonly maxCount?: number;
}

/** Milliseconds in which a launcher passes on what a process printed: after an abort, MPICH's may print nothing more. */
const TO_PASS_ON = 100;

/** Milliseconds in which the last messages, which were received, are done. */
const TO_FINISH = 200;

/** All processes of a launch. One exists in a process, from {@link joinWorld} to {@link World.leave}. */
export class World {
  /** The number of this process, from 0. */
  readonly rank: number;
  /** The number of processes. */
  readonly size: number;
  /** The implementation, such as `MPICH 5.0.2`. */
  readonly implementation: string;
  /** The name of this machine. */
  readonly machine: string;
  /** The number of processes on this machine. */
  readonly sharing: number;
  /** The threads of each process on this machine. */
  readonly threads: number;
  /** The communicator of all processes. */
  readonly communicator: MpiCommunicator;
  readonly #library: Library;
  readonly #patience: Patience;
  readonly #underWay: UnderWay = new Set();
  readonly #maxCount: number | undefined;
  readonly #abort = () => this.abort();

  /** Use {@link joinWorld}. */
  constructor(library: Library, rank: number, size: number, options: WorldOptions) {
    const { timeLimit, maxCount } = options;
    const { functions, abi } = library;
    this.#library = library;
    this.#maxCount = maxCount;
    this.rank = rank;
    this.size = size;
    this.implementation = library.name;
    // An error handler is inherited by the groups that are split off.
    checkMpi(
      library,
      functions.MPI_Comm_set_errhandler(abi.world, abi.errorsReturn),
      "MPI_Comm_set_errhandler",
    );
    globalThis.addEventListener("unload", this.#abort);
    const name = new Uint8Array(TEXT_BYTES);
    checkMpi(library, functions.MPI_Get_processor_name(name, outI32().buffer), "MPI_Get_processor_name");
    this.machine = textOf(name);
    const shared = outU64();
    checkMpi(
      library,
      functions.MPI_Comm_split_type(abi.world, abi.sharedMemory, rank, abi.noInfo, shared.buffer),
      "MPI_Comm_split_type",
    );
    this.sharing = this.#place(shared.value).size;
    const cores = navigator.hardwareConcurrency;
    this.threads = options.threads ?? Math.max(1, Math.floor(cores / this.sharing));
    const crowded = this.sharing * this.threads > cores;
    this.#patience = { crowded, limit: timeLimit };
    this.communicator = this.#communicator(abi.world, "world");
  }

  /**
   * The group of the processes that give the same `color`, ordered by `key` and then by their numbers. Every process of
   * `within` must call this. `name` appears in messages.
   *
   * @throws {LocalgradError} if the color is negative, or MPI reports an error.
   */
  split(
    name: string,
    color: number,
    key: number = 0,
    within: MpiCommunicator = this.communicator,
  ): MpiCommunicator {
    expectWhole("split: color", color, 0, 2 ** 31 - 1);
    expectWhole("split: key", key, 0, 2 ** 31 - 1);
    const { functions } = this.#library;
    const group = outU64();
    // A blocking call spins, so the processes meet before it.
    within.barrier();
    checkMpi(
      this.#library,
      functions.MPI_Comm_split(within.handle, color, key, group.buffer),
      `split into groups ${name}`,
    );
    return this.#communicator(group.value, name);
  }

  /**
   * Ends MPI once all processes have called this. A process that ends without it ends all others, so that a run with a
   * lost process never looks like a success: call it when the work is done, not in `finally`.
   *
   * @throws {LocalgradError} if a transfer is not done, or the others do not come within the time limit.
   */
  leave(): void {
    // Messages that have been received are done once they are tested.
    const end = performance.now() + TO_FINISH;
    while ([...this.#underWay].filter((transfer) => !transfer.done()).length > 0 && performance.now() < end) {
      pause(0.1);
    }
    const { value: pending } = this.#underWay.values().next();
    if (pending !== undefined) {
      throw new LocalgradError(`${this.#library.who} leaves before this is done: ${pending.description}`);
    }
    if (this.#patience.abandoned) {
      throw new LocalgradError(`${this.#library.who} leaves after an error; it ends all processes instead`);
    }
    // A blocking MPI_Finalize would spin, and hang if another process were in a collective call.
    this.communicator.barrier();
    globalThis.removeEventListener("unload", this.#abort);
    checkMpi(this.#library, this.#library.functions.MPI_Finalize(), "MPI_Finalize");
    state = "left";
  }

  /** Gives up on the others after an error, see `Processes.abandon`. */
  abandon(): void {
    this.#patience.abandoned = true;
  }

  /** Ends all processes at once, with this process's exit code if that is not 0, otherwise with 1. */
  abort(): void {
    globalThis.removeEventListener("unload", this.#abort);
    const { functions, abi, who } = this.#library;
    if (Deno.exitCode === 0) console.error(`error: ${who} ended without leaving the others, which ends all`);
    pause(TO_PASS_ON);
    functions.MPI_Abort(abi.world, Deno.exitCode || 1);
  }

  #communicator(handle: bigint, name: string): MpiCommunicator {
    const group = { handle, name, ...this.#place(handle) };
    return new MpiCommunicator(this.#library, group, this.#patience, this.#underWay, this.#maxCount);
  }

  #place(handle: bigint): { rank: number; size: number } {
    return placeIn(this.#library, handle);
  }
}

function placeIn(library: Library, handle: bigint): { rank: number; size: number } {
  const rank = outI32(), size = outI32();
  checkMpi(library, library.functions.MPI_Comm_rank(handle, rank.buffer), "MPI_Comm_rank");
  checkMpi(library, library.functions.MPI_Comm_size(handle, size.buffer), "MPI_Comm_size");
  return { rank: rank.value, size: size.value };
}

/** MPI can be initialised once in a process. */
let state: "new" | "joined" | "left" = "new";

/**
 * Joins the processes that `mpirun`, `srun` or another launcher started; a process that none started is the only one.
 * It takes `--allow-ffi`, and `--allow-env --allow-read` to find MPI and the launcher. All processes call it, and those of
 * one machine share the cores: `threads` says how many each uses.
 *
 * @throws {LocalgradError} if there is no MPI, if it is not the launcher's, or if this process has joined before.
 */
export function joinWorld(options: WorldOptions = {}, host: Host = thisHost()): World {
  const kinds = { threads: "number?", timeLimit: "number?", maxCount: "number?" } as const;
  expectOptions("joinWorld", options, kinds);
  if (options.threads !== undefined) expectWhole("joinWorld: threads", options.threads);
  if (options.timeLimit !== undefined) expectBetween("joinWorld: timeLimit", options.timeLimit, 0);
  if (options.maxCount !== undefined) expectWhole("joinWorld: maxCount", options.maxCount);
  if (state !== "new") {
    const end = state === "joined" ? "pass its World on" : "MPI cannot start again after it has ended";
    throw new LocalgradError(`this process has joined the others before: ${end}`);
  }
  const { opened, launcher, report } = openMpiLibrary(host);
  if (opened === undefined) {
    throw new LocalgradError(`no MPI: ${report.problem}. To mend it: ${report.remedy}`);
  }
  const { functions, abi } = opened;
  const provided = outI32();
  const starting = { ...opened, who: "this process" };
  checkMpi(starting, functions.MPI_Init_thread(0n, 0n, abi.serialized, provided.buffer), "MPI_Init_thread");
  state = "joined";
  const { rank, size } = placeIn(starting, abi.world);
  if (launcher?.size !== undefined && (launcher.size !== size || launcher.rank !== rank)) {
    throw new LocalgradError(
      `${launcher.name} started this process as number ${launcher.rank} of ${launcher.size}, but ${opened.name} ` +
        `(${opened.path}) made it number ${rank} of ${size}: it does not know this launcher. ` +
        `Start the processes by the mpirun of that MPI${
          report.mpirun === undefined ? "" : ` (${report.mpirun})`
        }`,
    );
  }
  if (provided.value < abi.serialized) {
    throw new LocalgradError(
      `${opened.name} (${opened.path}) gives no thread level MPI_THREAD_SERIALIZED; ${MPI_INSTALL}`,
    );
  }
  return new World({ ...opened, who: `process ${rank} of ${size}` }, rank, size, options);
}
