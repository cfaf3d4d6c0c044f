import { at } from "../../base/at.ts";
import type { Plan } from "../../compile/plan.ts";
import type { Stream } from "../../compile/schedule.ts";
import { type Access, accessesOf, conflicts } from "./accesses.ts";
import type { Card } from "./card.ts";
import type { Launch } from "./launch.ts";

/** The launches of a plan on two streams. */
export interface LaunchSchedule {
  /** The stream of each launch. */
  readonly streams: readonly Stream[];
  /** For each launch, the one of the other stream that it waits for; undefined if it waits for no more than those before. */
  readonly waits: readonly (number | undefined)[];
}

/** The stream on which a plan wants each launch: all on the first, if it has no schedule. */
export function streamsOf({ schedule, steps }: Plan): (launch: Launch) => Stream {
  if (schedule === undefined) return () => 0;
  // A step of the plan is an object of its own.
  const streams = new Map(steps.map((step, s) => [step, at(schedule.streams, s)]));
  return ({ step }) => streams.get(step) ?? 0;
}

/**
 * Finds out which launches of two streams wait for each other: a launch waits for the last earlier one of the other stream
 * that writes what it reads or writes, or reads what it writes. So results are right whatever the plan says about time.
 */
export function scheduleLaunches(plan: Plan, launches: readonly Launch[]): LaunchSchedule {
  const streamOf = streamsOf(plan);
  const streams = launches.map(streamOf);
  const accesses: (readonly Access[])[] = [];
  const issued: readonly [number[], number[]] = [[], []];
  /** For each stream, the last launch of the other one that it has waited for. */
  const seen: [number, number] = [-1, -1];
  const waits = launches.map((launch, index) => {
    const stream = at(streams, index), own = accessesOf(plan, launch);
    accesses.push(own);
    issued[stream].push(index);
    const found = issued[stream === 0 ? 1 : 0].findLast((other) =>
      other <= seen[stream] || conflicts(own, at(accesses, other))
    );
    if (found === undefined || found <= seen[stream]) return undefined;
    return seen[stream] = found;
  });
  return { streams, waits };
}

/**
 * A second branch in the graph of a plan: captures launches on two streams, with events between those that wait for each
 * other.
 */
export class Branches {
  readonly #card: Card;
  readonly #second: bigint;
  readonly #schedule: LaunchSchedule;
  /** The events of launches that others wait for. */
  readonly #events = new Map<number, bigint>();
  readonly #ends: readonly [begun: bigint, done: bigint];

  /** `second` is a stream beside the card's own. */
  constructor(card: Card, second: bigint, schedule: LaunchSchedule) {
    this.#card = card;
    this.#second = second;
    this.#schedule = schedule;
    this.#ends = [card.createEvent(), card.createEvent()];
    for (const wait of schedule.waits) if (wait !== undefined) this.#events.set(wait, card.createEvent());
  }

  /** Issues all launches into the capture of the card's stream: `issue` issues one on a stream. */
  capture(issue: (index: number, stream: bigint) => void): void {
    const card = this.#card, { streams, waits } = this.#schedule;
    const [begun, done] = this.#ends;
    card.record(begun, card.stream);
    card.wait(this.#second, begun);
    streams.forEach((stream, index) => {
      const handle = stream === 0 ? card.stream : this.#second;
      const wait = waits[index];
      if (wait !== undefined) card.wait(handle, this.#event(wait));
      issue(index, handle);
      const own = this.#events.get(index);
      if (own !== undefined) card.record(own, handle);
    });
    card.record(done, this.#second);
    card.wait(card.stream, done);
  }

  /** Frees its events. */
  dispose(): void {
    const { driver } = this.#card;
    for (const event of [...this.#ends, ...this.#events.values()]) driver.cuEventDestroy_v2(event);
    this.#events.clear();
  }

  #event(launch: number): bigint {
    const event = this.#events.get(launch);
    if (event === undefined) throw new Error(`cuda: nothing waits for launch ${launch}`);
    return event;
  }
}
