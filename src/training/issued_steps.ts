import type { StepRecord } from "../artifacts/observer.ts";
import type { Setup } from "../local/setup.ts";
import { type DeviceArray, disposeTree } from "../runtime/arrays.ts";
import { Collector, type Elsewhere, type Measured, measured, recordOf } from "./measured.ts";
import type { Team } from "./processes/team.ts";

/** An issued step whose losses have not been read. */
interface Pending {
  readonly metrics: DeviceArray;
  readonly record: Omit<StepRecord, "losses" | "accuracy" | "meanSquaredError">;
  /** What other processes measure in it. */
  readonly elsewhere: Elsewhere;
}

/** A step whose losses have been read, those of other processes perhaps not yet. */
interface Read extends Omit<Pending, "metrics"> {
  readonly own: Measured;
}

/** The steps of a run from their issue until their losses are known of all modules, in order. */
export class IssuedSteps implements Disposable {
  readonly #team: Team;
  readonly #setup: Setup;
  readonly #collector: Collector;
  readonly #pending: Pending[] = [];
  readonly #read: Read[] = [];

  /** Of the processes of a team, which train the modules of a setup. */
  constructor(team: Team, setup: Setup) {
    this.#team = team;
    this.#setup = setup;
    this.#collector = new Collector(team.pipeline);
  }

  /** The number of steps whose losses have not been read. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Issues a step. */
  issue(step: () => Omit<Pending, "elsewhere">): void {
    const elsewhere = this.#collector.expect();
    this.#pending.push({ ...step(), elsewhere });
  }

  /** Reads the pending losses of this process, for which it waits, and passes them on to the first. */
  async read(): Promise<void> {
    const { modules: { length: modules } } = this.#team.division?.own ?? this.#setup;
    const read = await Promise.all(this.#pending.map(async ({ metrics, ...rest }): Promise<Read> => {
      return { ...rest, own: measured(await metrics.read(), modules) };
    }));
    this[Symbol.dispose]();
    for (const { own } of read) this.#collector.send(own);
    this.#read.push(...read);
  }

  /** The steps that have been read and are known of all modules; with `all` it waits for the others. Only process 0 has them. */
  *known(all: boolean): Generator<StepRecord> {
    for (let [first] = this.#read; first !== undefined; [first] = this.#read) {
      if (!all && !first.elsewhere.done()) break;
      this.#read.shift();
      if (!this.#team.isFirst) continue;
      const { record, own, elsewhere } = first;
      yield { ...record, ...recordOf(elsewhere.joined(own), this.#setup.model, record.images) };
    }
  }

  /** Waits until all that was passed on has left. */
  finish(): void {
    this.#collector.finish();
  }

  /** Frees the losses that have not been read. */
  [Symbol.dispose](): void {
    disposeTree(this.#pending.splice(0).map(({ metrics }) => metrics));
  }
}
