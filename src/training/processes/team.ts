import type { Communicator, Pending, Processes } from "../../backends/communicator.ts";
import { type Agreed, agreeOn } from "../../backends/agreement.ts";
import { bytesOf, sharedBytes } from "../../backends/shared_bytes.ts";
import { at } from "../../base/at.ts";
import type { Division } from "./division.ts";

/**
 * The processes of a trainer, and what they settle between its steps. All of them make the same calls in the same order. A
 * process alone settles everything by itself.
 */
export class Team {
  /** The processes; undefined for a process alone. */
  readonly processes: Processes | undefined;
  /** How they divide the network; undefined for a process alone. */
  readonly division: Division | undefined;

  /** The processes of a division; a process without one is alone. */
  constructor(division?: Division) {
    this.division = division;
    this.processes = division?.processes;
  }

  /** True for the process that keeps the run and shows its progress. */
  get isFirst(): boolean {
    return this.rank === 0;
  }
  /** The number of this process. */
  get rank(): number {
    return this.processes?.rank ?? 0;
  }
  /** The number of processes. */
  get size(): number {
    return this.processes?.size ?? 1;
  }
  /** The division, if it divides modules: then a process has values that others lack. */
  get pipeline(): Division | undefined {
    return this.processes !== undefined && this.processes.layout.modules > 1 ? this.division : undefined;
  }

  /**
   * Refuses processes whose values differ from those of process 0, on all of them.
   *
   * @throws {LocalgradError} if they do, with the first that does.
   */
  agreeOn(what: string, values: Agreed): void {
    if (this.processes !== undefined) agreeOn(this.processes.communicators.world, what, values);
  }

  /** The greatest of the values that the processes give: whole numbers from 0. */
  most(value: number): number {
    if (this.processes === undefined) return value;
    const word = Int32Array.of(value);
    this.processes.communicators.world.allReduce(bytesOf(word), "i32", "max").wait();
    return at(word, 0);
  }

  /** Replaces elements by their sums over all processes. */
  sum(values: Float32Array | Int32Array): void {
    const dtype = values instanceof Float32Array ? "f32" : "i32";
    if (values.length > 0) {
      this.processes?.communicators.world.allReduce(bytesOf(values), dtype, "sum").wait();
    }
  }

  /** What process 0 makes, as JSON, on every process; only process 0 makes it. */
  async fromFirst<T>(make: () => Promise<T>): Promise<T> {
    if (this.processes === undefined) return await make();
    const text = this.isFirst ? new TextEncoder().encode(JSON.stringify(await make())) : undefined;
    return JSON.parse(new TextDecoder().decode(sharedBytes(this.processes, text))) as T; // its own JSON
  }

  /**
   * Runs what all processes do together. After an error this process gives up on the others, which its end will end. An
   * error that all have is told by process 0: the others leave it time.
   */
  async together<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      this.processes?.abandon();
      if (!this.isFirst) await new Promise((resolve) => setTimeout(resolve, HEAD_START));
      throw error;
    }
  }
}

/** Milliseconds in which process 0 may tell of an error that others have too. */
const HEAD_START = 1000;

/**
 * What the processes of a run agree on at every step, so that all stop, or save, after the same one: the greatest of the
 * numbers that they ask for. Nobody waits for it: it is known some steps later, by when the slowest has long been there.
 */
export class Agreement {
  readonly #world: Communicator | undefined;
  /**
   * The steps after which it is known: more than the first process of a pipeline can be ahead of the last, which are those
   * whose features wait to be sent, and one in work at each.
   */
  readonly #lag: number;
  readonly #underWay: { readonly word: Int32Array; readonly pending: Pending }[] = [];

  /** For the processes of a team. */
  constructor({ processes, division }: Team) {
    this.#world = processes?.communicators.world;
    const { layout: { modules }, depth } = division?.own.part ?? { layout: { modules: 1 }, depth: 1 };
    this.#lag = (modules - 1) * (depth + 1) + 1;
  }

  /** Asks for a number at this step; returns the greatest that was asked for some steps before, 0 if there were none. */
  next(asked: number): number {
    if (this.#world === undefined) return asked;
    const word = Int32Array.of(asked);
    this.#underWay.push({ word, pending: this.#world.allReduce(bytesOf(word), "i32", "max") });
    return this.#underWay.length <= this.#lag ? 0 : this.#oldest();
  }

  /** Waits for what is still under way. */
  finish(): void {
    while (this.#underWay.length > 0) this.#oldest();
  }

  #oldest(): number {
    const oldest = this.#underWay.shift();
    if (oldest === undefined) return 0;
    oldest.pending.wait();
    return at(oldest.word, 0);
  }
}
