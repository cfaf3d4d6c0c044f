import { driverFlag } from "../../../ffi/driver.ts";
import type { Plan, Step } from "../../compile/plan.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Card } from "./card.ts";
import type { Task } from "./lower.ts";

/** What a profile tells apart. */
export type WorkClass =
  | "convolution"
  | "convolution, input gradient"
  | "convolution, filter gradient"
  | "product"
  | "element-wise"
  | "reduction"
  | "other";

/** What a step of a plan is. */
export function classOf(step: Step): WorkClass {
  if (step.kind === "kernel") return step.kernel.reduce === undefined ? "element-wise" : "reduction";
  switch (step.instruction.op) {
    case "conv":
      return "convolution";
    case "convInputGrad":
      return "convolution, input gradient";
    case "convFilterGrad":
      return "convolution, filter gradient";
    case "matmul":
      return "product";
    default:
      return "other";
  }
}

/** Times of one class, over all runs. */
export interface ClassTime {
  /** Tasks: launches of kernels, and calls of libraries, which may launch several. */
  tasks: number;
  /** Milliseconds on the card. */
  milliseconds: number;
}

/**
 * Bytes that are cleared in front of every task, so that the card is busy while the host issues the task: its time is
 * then the card's, without gaps. 12 µs on a card of 3 TB/s, by reckoning.
 */
const FILLER = 32 * 2 ** 20;

/**
 * Times every task of every run by itself, between two events. Runs are then issued task by task, without a graph, and
 * take far longer than they otherwise do; only the times of the tasks mean anything. Each finds its operands in memory
 * rather than in the card's cache.
 */
export class Profiler {
  /** Times by class, over all runs since the last {@link reset}. */
  readonly times: Map<WorkClass, ClassTime> = new Map();
  /** The plans that were run. */
  readonly plans: Set<Plan> = new Set();
  readonly #card: Card;
  readonly #filler: bigint;
  readonly #events: bigint[] = [];

  constructor(card: Card) {
    this.#card = card;
    if (card.driver.cuEventElapsedTime_v2 === null) {
      throw new LocalgradError("cuda: a profile takes a driver of CUDA 12.8 or newer");
    }
    this.#filler = card.allocate(FILLER);
  }

  /** Forgets what was measured. */
  reset(): void {
    this.times.clear();
    this.plans.clear();
  }

  /** Issues tasks one by one, and waits for them. */
  run(plan: Plan, tasks: readonly Task[], issue: (index: number) => void): void {
    const { driver, stream } = this.#card;
    this.plans.add(plan);
    while (this.#events.length < 2 * tasks.length) {
      this.#events.push(this.#card.createEvent(driverFlag.CU_EVENT_DEFAULT));
    }
    tasks.forEach((_, i) => {
      this.#card.clear(this.#filler, FILLER);
      this.#card.record(this.#events[2 * i], stream);
      issue(i);
      this.#card.record(this.#events[2 * i + 1], stream);
    });
    this.#card.synchronize();
    const elapsed = new Float32Array(1);
    tasks.forEach(({ step }, i) => {
      const status = driver.cuEventElapsedTime_v2!(elapsed, this.#events[2 * i], this.#events[2 * i + 1]);
      this.#card.check(status, "reading a task's time");
      const kind = classOf(step);
      const time = this.times.get(kind) ?? { tasks: 0, milliseconds: 0 };
      this.times.set(kind, { tasks: time.tasks + 1, milliseconds: time.milliseconds + elapsed[0] });
    });
  }

  /** Frees its events; the card takes the rest back. */
  close(): void {
    for (const event of this.#events.splice(0)) this.#card.driver.cuEventDestroy_v2(event);
    this.#card.free(this.#filler);
  }
}
