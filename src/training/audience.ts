import type { EpochRecord, Observer, RunInfo, Snapshot, StepRecord } from "../artifacts/observer.ts";
import type { Samples } from "../artifacts/samples.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject, type Kinds as ArgumentKinds } from "../base/expect.ts";

type Kinds = readonly ("last" | "best")[];

const METHODS: ArgumentKinds<Observer> = {
  start: "function?",
  step: "function?",
  epoch: "function?",
  save: "function?",
  samples: "function?",
  end: "function?",
};

/** Refuses an observer that would be told of nothing, such as one whose only method is misspelt. */
export function checkObserver(what: string, observer: Observer): void {
  expectObject(what, observer, METHODS);
  const names = Object.keys(METHODS) as (keyof Observer)[];
  if (names.some((name) => observer[name] !== undefined)) return;
  throw new LocalgradError(`${what} needs at least one of the methods ${names.join(", ")}`);
}

/**
 * The observers of a run. Observers that save are notified before those that only display, so that nothing is reported
 * done before it is on the disk. If an observer throws, the others are still notified; it is notified of the end alone,
 * and the run stops, saves through the others and fails with its error.
 */
export class Audience {
  readonly #keepers: readonly Observer[];
  readonly #displays: readonly Observer[];
  readonly #failed = new Map<Observer, unknown>();
  #ended = false;

  constructor(observers: readonly Observer[]) {
    this.#keepers = observers.filter(({ save }) => save !== undefined);
    this.#displays = observers.filter(({ save }) => save === undefined);
  }

  /** True if there are no observers. */
  get empty(): boolean {
    return this.#all.length === 0;
  }
  /** True if an observer saves. */
  get keeps(): boolean {
    return this.#keepers.length > 0;
  }
  /** True once an observer threw. */
  get failed(): boolean {
    return this.#failed.size > 0;
  }

  /** Throws the first error of an observer, if any. */
  raise(): void {
    for (const error of this.#failed.values()) throw error;
  }

  /** Notifies of the start; stops at the first error. */
  async start(info: RunInfo): Promise<void> {
    for (const observer of this.#all) {
      await this.#notify([observer], () => observer.start?.(info));
      this.raise();
    }
  }

  /** Notifies of a step. */
  async step(record: StepRecord): Promise<void> {
    await this.#notify(this.#all, (observer) => observer.step?.(record));
  }

  /** Notifies of an evaluation; the state it was made on is saved before it is displayed. */
  async epoch(record: EpochRecord, snapshot: Snapshot | undefined, kinds: Kinds): Promise<void> {
    await this.#notify(this.#keepers, (observer) => observer.epoch?.(record));
    if (snapshot !== undefined) await this.save(snapshot, kinds);
    await this.#notify(this.#displays, (observer) => observer.epoch?.(record));
  }

  /** Saves a state. */
  async save(snapshot: Snapshot, kinds: Kinds): Promise<void> {
    await this.#notify(this.#keepers, (observer) => observer.save?.(snapshot, kinds));
  }

  /** Notifies of samples. */
  async samples(samples: Samples): Promise<void> {
    await this.#notify(this.#all, (observer) => observer.samples?.(samples));
  }

  /** Notifies of the end, once. */
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
    return [...this.#keepers, ...this.#displays];
  }

  async #notify(
    observers: readonly Observer[],
    call: (observer: Observer) => void | Promise<void>,
  ): Promise<void> {
    for (const observer of observers) {
      if (this.#failed.has(observer)) continue;
      try {
        await call(observer);
      } catch (error) {
        this.#failed.set(observer, error);
      }
    }
  }
}
