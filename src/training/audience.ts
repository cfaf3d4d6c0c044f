import type { EpochRecord, Observer, RunInfo, Snapshot, StepRecord } from "../artifacts/observer.ts";

type Kinds = readonly ("last" | "best")[];

/**
 * Those who watch a run. What keeps it is told before what only shows it, so that nothing is said to be done that is not
 * on the disk. An observer that throws keeps no other from its turn: it is told nothing more but the end, and the run
 * stops, saves through the others and fails with what was thrown.
 */
export class Audience {
  readonly #keepers: readonly Observer[];
  readonly #others: readonly Observer[];
  readonly #failed = new Map<Observer, unknown>();
  #ended = false;

  constructor(observers: readonly Observer[]) {
    this.#keepers = observers.filter(({ save }) => save !== undefined);
    this.#others = observers.filter(({ save }) => save === undefined);
  }

  /** Whether nobody watches. */
  get empty(): boolean {
    return this.#all.length === 0;
  }
  /** Whether anybody saves. */
  get keeps(): boolean {
    return this.#keepers.length > 0;
  }
  /** Whether an observer threw. */
  get failed(): boolean {
    return this.#failed.size > 0;
  }

  /** Throws what the first observer threw that did. */
  raise(): void {
    for (const error of this.#failed.values()) throw error;
  }

  /** Tells of the start; the first that throws ends it. */
  async start(info: RunInfo): Promise<void> {
    for (const observer of this.#all) {
      await this.#tell([observer], () => observer.start?.(info));
      this.raise();
    }
  }

  /** Tells of a step. */
  async step(record: StepRecord): Promise<void> {
    await this.#tell(this.#all, (observer) => observer.step?.(record));
  }

  /** Tells of an evaluation, and has the state behind it saved before it is shown. */
  async epoch(record: EpochRecord, snapshot: Snapshot | undefined, kinds: Kinds): Promise<void> {
    await this.#tell(this.#keepers, (observer) => observer.epoch?.(record));
    if (snapshot !== undefined) await this.save(snapshot, kinds);
    await this.#tell(this.#others, (observer) => observer.epoch?.(record));
  }

  /** Has the state saved. */
  async save(snapshot: Snapshot, kinds: Kinds): Promise<void> {
    await this.#tell(this.#keepers, (observer) => observer.save?.(snapshot, kinds));
  }

  /** Tells everyone of the end, once. */
  async end(reason: "done" | "stopped" | "failed"): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    for (const observer of this.#all) {
      try {
        await observer.end?.(this.failed ? "failed" : reason);
      } catch (error) {
        if (!this.#failed.has(observer)) this.#failed.set(observer, error);
      }
    }
  }

  get #all(): readonly Observer[] {
    return [...this.#keepers, ...this.#others];
  }

  async #tell(
    observers: readonly Observer[],
    say: (observer: Observer) => void | Promise<void>,
  ): Promise<void> {
    for (const observer of observers) {
      if (this.#failed.has(observer)) continue;
      try {
        await say(observer);
      } catch (error) {
        this.#failed.set(observer, error);
      }
    }
  }
}
