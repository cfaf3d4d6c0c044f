import { LocalgradError } from "../base/errors.ts";
import type { DType } from "../trace/dtype.ts";

/** A transfer under way. Its memory must stay as it is, and where it is, until the transfer is done. */
export interface Pending {
  /** Tests whether the transfer is done, and lets it progress. Never waits. */
  done(): boolean;
  /** Waits until the transfer is done. Returns at once if it already is. */
  wait(): void;
  /** Waits likewise, and lets the event loop turn meanwhile. */
  settled(): Promise<void>;
}

/**
 * A group of processes that exchange data: MPI's communicator. All calls return at once. Every process of the group makes
 * the same calls of `allReduce` and `broadcast` in the same order.
 */
export interface Communicator {
  /** The number of this process within the group, from 0. */
  readonly rank: number;
  /** The number of processes. */
  readonly size: number;
  /** True once this process has given up on the others after an error: then it waits for nothing of them. */
  readonly abandoned?: boolean;
  /** Replaces `data` on every process by the elements' sum, maximum or minimum over all processes. */
  allReduce(data: Uint8Array, dtype: DType, fn: "sum" | "max" | "min"): Pending;
  /** Replaces `data` on every process by that of the process `root`. */
  broadcast(data: Uint8Array, root: number): Pending;
  /** Sends `data` to the process `to`. Messages of one tag between two processes arrive in the order sent. */
  send(data: Uint8Array, to: number, tag: number): Pending;
  /** Receives into `data` a message of the same length from the process `from`. */
  receive(data: Uint8Array, from: number, tag: number): Pending;
}

/** The groups that a process belongs to, by name: `{ data, modules, world }`. */
export type Communicators = { readonly [group: string]: Communicator };

/** The processes of a run, and the place of this one among them: what `processes.join` of the package gives. */
export interface Processes {
  /** The number of this process, from 0. */
  readonly rank: number;
  /** The number of processes. */
  readonly size: number;
  /** The number of shares that each batch is divided into, and of runs of modules. */
  readonly layout: { readonly data: number; readonly modules: number };
  /** The index of this process's share of each batch, and of its run of modules. */
  readonly place: { readonly data: number; readonly modules: number };
  /** The threads that each process of this machine should use; undefined for a process alone, which may use all. */
  readonly threads?: number | undefined;
  /**
   * The groups that this process belongs to: `world`, all of them; `data`, those with the same modules; `modules`, those of
   * one pipeline.
   */
  readonly communicators: { readonly [group in "world" | "data" | "modules"]: Communicator };
  /**
   * Gives up on the others after an error: no wait for them lasts any longer, nothing can be exchanged any more, and the end
   * of this process ends all. The trainer calls it when training fails.
   */
  abandon(): void;
}

const DONE: Pending = { done: () => true, wait() {}, settled: () => Promise.resolve() };

function nobody(): never {
  throw new LocalgradError("a process alone has nobody to exchange messages with");
}

/** The group of one process. Opening a device with it needs nothing: programs that exchange data in it run as they are. */
export const alone: Communicator = {
  rank: 0,
  size: 1,
  allReduce: () => DONE,
  broadcast: () => DONE,
  send: nobody,
  receive: nobody,
};

/** The number of processes of each group, as the compiler knows them. */
export function groupSizes(communicators: Communicators): { readonly [group: string]: number } {
  return Object.fromEntries(Object.entries(communicators).map(([group, { size }]) => [group, size]));
}
