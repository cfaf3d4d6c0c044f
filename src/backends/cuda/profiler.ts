import { type Driver, driverFlag } from "../../../ffi/driver.ts";
import type { Plan } from "../../compile/plan.ts";
import { classOf, type WorkClass } from "../../compile/work.ts";
import { Out } from "../../../ffi/memory.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Card } from "./card.ts";
import type { Launch } from "./launch.ts";

/** The time of one class, over all runs. */
export interface ClassTime {
  /** Launches of our kernels, and calls of libraries, which may launch several kernels. */
  launches: number;
  /** Milliseconds on the card. */
  milliseconds: number;
}

/** The least bytes to clear before a launch. */
const LEAST = 32 * 2 ** 20;

/**
 * Bytes to clear before every launch on a card with this much second cache: twice as much or more, so that nothing of the
 * launch's operands is left there, as at the end of a step. An H200 has 60 MiB, and clears 128. The card is then also
 * still busy when the launch is issued, so that the time between the events has no gap: some 40 µs at 3 TB/s, an
 * estimate, not a measurement.
 */
export function fillerBytes(cacheBytes: number): number {
  return Math.max(LEAST, 2 ** Math.ceil(Math.log2(Math.max(1, 2 * cacheBytes))));
}

/**
 * Times every launch of every run between two events. Runs are then issued launch by launch, without a graph, and take
 * much longer than usual; only the times of the launches are meaningful. Each launch finds its operands in memory rather
 * than in the card's cache.
 */
export class Profiler {
  /** Times by class, over all runs since the last {@link reset}. */
  readonly times: Map<WorkClass, ClassTime> = new Map();
  /** The plans that ran since the last {@link reset}. */
  readonly plans: Set<Plan> = new Set();
  readonly #card: Card;
  readonly #elapsedTime: NonNullable<Driver["cuEventElapsedTime_v2"]>;
  readonly #filler: bigint;
  readonly #fillerBytes: number;
  readonly #events: bigint[] = [];

  constructor(card: Card) {
    this.#card = card;
    const { cuEventElapsedTime_v2: elapsedTime } = card.driver;
    if (elapsedTime === null) {
      throw new LocalgradError("cuda: profiling needs a driver for CUDA 12.8 or newer");
    }
    this.#elapsedTime = elapsedTime;
    this.#fillerBytes = fillerBytes(card.facts.cacheBytes);
    this.#filler = card.allocate(this.#fillerBytes);
  }

  /** Discards all times. */
  reset(): void {
    this.times.clear();
    this.plans.clear();
  }

  /** Issues launches one by one, and waits for them. */
  run(plan: Plan, launches: readonly Launch[], issue: (index: number) => void): void {
    const { stream } = this.#card;
    this.plans.add(plan);
    while (this.#events.length < 2 * launches.length) {
      this.#events.push(this.#card.createEvent(driverFlag.CU_EVENT_DEFAULT));
    }
    launches.forEach((_, i) => {
      this.#card.clear(this.#filler, this.#fillerBytes);
      this.#card.record(at(this.#events, 2 * i), stream);
      issue(i);
      this.#card.record(at(this.#events, 2 * i + 1), stream);
    });
    this.#card.synchronize();
    const elapsed = new Out(new Float32Array(1));
    launches.forEach(({ step }, i) => {
      const status = this.#elapsedTime(elapsed.buffer, at(this.#events, 2 * i), at(this.#events, 2 * i + 1));
      this.#card.check(status, "reading a launch's time");
      const kind = classOf(step);
      const time = this.times.get(kind) ?? { launches: 0, milliseconds: 0 };
      this.times.set(kind, { launches: time.launches + 1, milliseconds: time.milliseconds + elapsed.value });
    });
  }

  /** Frees its events and memory. */
  close(): void {
    for (const event of this.#events.splice(0)) this.#card.driver.cuEventDestroy_v2(event);
    this.#card.free(this.#filler);
  }
}
