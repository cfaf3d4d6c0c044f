import { type Driver, driverFlag } from "../../../ffi/driver.ts";
import { Out } from "../../../ffi/memory.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Card } from "./card.ts";
import { fillerBytes } from "./profiler.ts";

/** Runs of an engine that are timed, after one that is not. */
const RUNS = 3;

/** Seconds that a device spends on timing engines, building them included. */
const BUDGET = 20;

/** Options of an {@link EngineTimer}. */
export interface TimerOptions {
  /** Seconds for all of it; default 20. */
  readonly budget?: number | undefined;
  /** Returns its memory to the driver after each session. */
  readonly trims: boolean;
}

/** Times launches on the card, within a budget. */
export class EngineTimer {
  readonly #card: Card;
  readonly #elapsedTime: NonNullable<Driver["cuEventElapsedTime_v2"]>;
  readonly #trims: boolean;
  readonly #events: bigint[] = [];
  readonly #filler: { address: bigint | undefined; readonly bytes: number };
  /** Milliseconds that are left. */
  #left: number;
  /** When the session began. */
  #since: number | undefined;

  constructor(
    card: Card,
    elapsedTime: NonNullable<Driver["cuEventElapsedTime_v2"]>,
    { budget = BUDGET, trims }: TimerOptions,
  ) {
    this.#card = card;
    this.#elapsedTime = elapsedTime;
    this.#trims = trims;
    this.#left = budget * 1000;
    this.#filler = { address: undefined, bytes: fillerBytes(card.facts.cacheBytes) };
  }

  /** True while the budget lasts. */
  get mayGoOn(): boolean {
    return this.#left - this.#spent > 0;
  }

  /** Milliseconds of the session so far. */
  get #spent(): number {
    return this.#since === undefined ? 0 : performance.now() - this.#since;
  }

  /** Runs `body`, which measures, at the expense of the budget. */
  session(body: () => void): void {
    this.#since = performance.now();
    this.#filler.address = this.#memory();
    try {
      body();
    } finally {
      if (this.#filler.address !== undefined) {
        this.#card.free(this.#filler.address);
        if (this.#trims) this.#card.trim();
      }
      this.#left -= this.#spent;
      this.#since = undefined;
    }
  }

  /**
   * Milliseconds of a launch on the card: the median of three runs after a warm-up. Before each, the second cache is
   * cleared, as for a profile, if there is memory for that. Undefined if `launch` returns false: it cannot be run.
   */
  measure(launch: () => boolean): number | undefined {
    const card = this.#card;
    const { address, bytes } = this.#filler;
    while (this.#events.length < 2 * RUNS) this.#events.push(card.createEvent(driverFlag.CU_EVENT_DEFAULT));
    if (!launch()) return undefined;
    card.synchronize(); // whatever the first run loads is loaded now
    for (let run = 0; run < RUNS; run++) {
      if (address !== undefined) card.clear(address, bytes);
      card.record(at(this.#events, 2 * run), card.stream);
      if (!launch()) return undefined;
      card.record(at(this.#events, 2 * run + 1), card.stream);
    }
    card.synchronize();
    const elapsed = new Out(new Float32Array(1));
    const times = Array.from({ length: RUNS }, (_, run) => {
      const [start, end] = [at(this.#events, 2 * run), at(this.#events, 2 * run + 1)];
      card.check(this.#elapsedTime(elapsed.buffer, start, end), "reading an engine's time");
      return elapsed.value;
    });
    return at(times.sort((a, b) => a - b), (RUNS - 1) / 2);
  }

  /** Memory to clear; undefined if there is none left. */
  #memory(): bigint | undefined {
    try {
      return this.#card.allocate(this.#filler.bytes);
    } catch (error) {
      if (error instanceof LocalgradError && error.code === "tooLarge") return undefined;
      throw error;
    }
  }

  /** Frees its events. */
  close(): void {
    for (const event of this.#events.splice(0)) this.#card.driver.cuEventDestroy_v2(event);
  }
}
