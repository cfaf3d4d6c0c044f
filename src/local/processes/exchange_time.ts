import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectBetween, expectOptions } from "../../base/expect.ts";
import { bytesSent } from "../../compile/collectives.ts";
import { pendingSteps } from "../../compile/pending.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { CollectiveInstruction } from "../../trace/program.ts";
import { messageOf } from "./exchange.ts";
import type { Layout } from "./layout.ts";
import { type ProcessPlan, sizeOfGroup } from "./plans.ts";
import { expectSpeeds, type Speeds, timeOf } from "../step_time.ts";

/** What connects two processes. */
export interface Link {
  /** Bytes a second, in each direction. */
  readonly bytes: number;
  /** Seconds until the first byte of a message has arrived. */
  readonly latency: number;
}

/**
 * A typical link between two processes of one machine: 2 GB/s and 20 µs, as MPI moves data through the memory that they
 * share.
 */
export const TYPICAL_LINK: Link = { bytes: 2e9, latency: 20e-6 };

/** The predicted time of a step on several processes, in seconds. */
export interface ParallelTime {
  /** The time between the ends of two steps, once the pipeline is full. */
  readonly step: number;
  /** The part of it that each process of a pipeline computes; the rest it waits. */
  readonly computing: readonly number[];
}

/** What a process does, in order. */
type Event =
  | { readonly kind: "compute"; readonly seconds: number }
  | Sending
  | { readonly kind: "receive"; readonly id: number; readonly from: number; readonly tag: number }
  | { readonly kind: "reduce"; readonly id: number; readonly seconds: number }
  | { readonly kind: "wait"; readonly id: number };

interface Sending {
  readonly kind: "send";
  readonly id: number;
  readonly to: number;
  readonly tag: number;
  readonly depth: number;
  /** How long it takes the link. */
  readonly seconds: number;
}

/** An exchange of a process: its duration on the link, and the time when it is done, once both sides have started. */
interface Transfer {
  readonly started: number;
  readonly seconds: number;
  done?: number;
}

/**
 * Predicts the time of a step from the planned programs. Each step of a plan takes as long as {@link timeOf} says. A
 * message starts when both sides have come to it, and takes the link's latency and its bytes over the link's speed. A
 * reduction over n processes takes 2(n − 1) latencies and 2(n − 1)/n of its bytes (a ring; Patarasuk and Yuan, 2009), or
 * 2⌈log₂ n⌉ latencies and as often its bytes (a tree), whichever is shorter. Meanwhile a process computes, up to the first
 * step that needs the result; it also waits for a slot of a message that has not left. The programs run against each other
 * until the pipeline is full and then some steps more, whose mean is the prediction.
 *
 * Where processes share a batch, those with equal modules are taken to be equally fast.
 */
export function parallelTime(
  plans: readonly ProcessPlan[],
  layout: Layout,
  speeds: Speeds,
  link: Link = TYPICAL_LINK,
): ParallelTime {
  expectOptions("parallelTime: the link", link, { bytes: "number", latency: "number" });
  expectSpeeds("parallelTime", speeds);
  expectBetween("parallelTime: bytes a second of the link", link.bytes, Number.MIN_VALUE);
  expectBetween("parallelTime: the link's latency", link.latency, 0);
  const timelines = plans.map((plan) => timelineOf(plan, layout, speeds, link));
  const computing = timelines.map((events) =>
    events.reduce((sum, event) => sum + (event.kind === "compute" ? event.seconds : 0), 0)
  );
  const filling = 4 * plans.length;
  const ends = simulate(timelines, filling + MEASURED);
  const means = ends.map((each) => (at(each, filling + MEASURED - 1) - at(each, filling - 1)) / MEASURED);
  const busy = timelines.map((events) =>
    events.reduce(
      (sum, event) => sum + (event.kind === "send" || event.kind === "reduce" ? event.seconds : 0),
      0,
    )
  );
  return { step: Math.max(...means, ...busy), computing };
}

/** Steps whose mean is taken: processes that wait for each other may do so in turns. */
const MEASURED = 64;

/** The events of a step of one process: what it computes between exchanges, and where it waits for them. */
function timelineOf({ plan }: ProcessPlan, layout: Layout, speeds: Speeds, link: Link): Event[] {
  const pending = pendingSteps(plan);
  const events: Event[] = [];
  let seconds = 0;
  const compute = () => {
    if (seconds > 0) events.push({ kind: "compute", seconds });
    seconds = 0;
  };
  plan.steps.forEach((step, position) => {
    for (const [id, { before, instruction }] of pending.entries()) {
      if (before !== position || instruction.op === "send") continue;
      compute();
      events.push({ kind: "wait", id });
    }
    const id = pending.findIndex((each) => each.position === position);
    if (id < 0) {
      seconds += timeOf(plan, step, speeds);
      return;
    }
    compute();
    events.push(eventOf(at(pending, id).instruction, id, plan, layout, link));
  });
  compute();
  for (const [id, { before, instruction }] of pending.entries()) {
    if (before >= plan.steps.length && instruction.op !== "send") events.push({ kind: "wait", id });
  }
  return events;
}

function eventOf(
  instruction: CollectiveInstruction,
  id: number,
  { values }: ProcessPlan["plan"],
  layout: Layout,
  { bytes, latency }: Link,
): Event {
  switch (instruction.op) {
    case "send": {
      const { inputs: [x], attrs: { to, tag, depth } } = instruction;
      return { kind: "send", id, to, tag, depth, seconds: latency + bytesOf(at(values, x)) / bytes };
    }
    case "receive": {
      const { from, tag } = instruction.attrs;
      return { kind: "receive", id, from, tag };
    }
    default: {
      const size = sizeOfGroup(instruction, layout);
      const ring = 2 * (size - 1) * latency + bytesSent(instruction, values, size) / bytes;
      const whole = bytesOf(at(values, instruction.output)) / bytes;
      const tree = 2 * Math.ceil(Math.log2(size)) * (latency + whole);
      return { kind: "reduce", id, seconds: Math.min(ring, tree) };
    }
  }
}

/** Runs processes against each other for some steps; returns the time at which each ends each step. */
function simulate(timelines: readonly (readonly Event[])[], steps: number): number[][] {
  const mail = new Mail();
  const running = timelines.map((events, i) => new Running(events, i, mail));
  // The blocks that the first step reads as it begins have been sent before it.
  for (const process of running) process.sendFirst();
  for (let left = running.filter(({ ends }) => ends.length < steps); left.length > 0;) {
    if (!left.map((process) => process.advance(steps)).includes(true)) {
      throw new LocalgradError("parallelTime: the processes wait for each other for ever");
    }
    left = running.filter(({ ends }) => ends.length < steps);
  }
  return running.map(({ ends }) => [...ends]);
}

/** Messages of which one side has come to the exchange and the other has not. */
class Mail {
  readonly #sent = new Map<string, Transfer[]>();
  readonly #awaited = new Map<string, Transfer[]>();

  send(from: number, to: number, tag: number, message: Transfer): void {
    this.#queue(this.#sent, from, to, tag).push(message);
    this.#match(from, to, tag);
  }

  receive(from: number, to: number, tag: number, message: Transfer): void {
    this.#queue(this.#awaited, from, to, tag).push(message);
    this.#match(from, to, tag);
  }

  #match(from: number, to: number, tag: number): void {
    const sent = this.#queue(this.#sent, from, to, tag), awaited = this.#queue(this.#awaited, from, to, tag);
    if (sent.length === 0 || awaited.length === 0) return;
    const message = sent.shift(), receiver = awaited.shift();
    if (message === undefined || receiver === undefined) return;
    message.done = receiver.done = Math.max(message.started, receiver.started) + message.seconds;
  }

  #queue(queues: Map<string, Transfer[]>, from: number, to: number, tag: number): Transfer[] {
    const key = `${from} ${to} ${tag}`;
    const queue = queues.get(key) ?? [];
    queues.set(key, queue);
    return queue;
  }
}

/** A process on its way through its steps. */
class Running {
  /** The time at the end of each step so far. */
  readonly ends: number[] = [];
  readonly #events: readonly Event[];
  readonly #index: number;
  readonly #mail: Mail;
  readonly #transfers = new Map<number, Transfer>();
  readonly #slots = new Map<number, Transfer[]>();
  #clock = 0;
  /** The time when the last reduction is done: they take turns. */
  #reduced = 0;
  #next = 0;

  constructor(events: readonly Event[], index: number, mail: Mail) {
    this.#events = events;
    this.#index = index;
    this.#mail = mail;
  }

  sendFirst(): void {
    for (const event of this.#events) {
      if (event.kind === "send" && messageOf(event.tag) === "before") this.#send(event);
    }
  }

  /** Goes on until it waits for another process, or has made all steps; returns false if it could not go on. */
  advance(steps: number): boolean {
    let moved = false;
    while (this.ends.length < steps) {
      const event = this.#events[this.#next];
      if (event === undefined) {
        this.ends.push(this.#clock);
        this.#next = 0;
      } else if (this.#take(event)) {
        this.#next++;
      } else {
        return moved;
      }
      moved = true;
    }
    return moved;
  }

  /** Takes an event, unless it waits for another process. */
  #take(event: Event): boolean {
    switch (event.kind) {
      case "compute":
        this.#clock += event.seconds;
        return true;
      case "send": {
        const slots = this.#slots.get(event.id) ?? [];
        this.#slots.set(event.id, slots);
        const [oldest] = slots;
        if (oldest !== undefined && slots.length === event.depth) {
          if (oldest.done === undefined) return false;
          this.#clock = Math.max(this.#clock, oldest.done);
          slots.shift();
        }
        slots.push(this.#send(event));
        return true;
      }
      case "receive": {
        const message = { started: this.#clock, seconds: 0 };
        this.#transfers.set(event.id, message);
        this.#mail.receive(event.from, this.#index, event.tag, message);
        return true;
      }
      case "reduce": {
        const { seconds } = event;
        const done = this.#reduced = Math.max(this.#clock, this.#reduced) + seconds;
        this.#transfers.set(event.id, { started: this.#clock, seconds, done });
        return true;
      }
      case "wait": {
        const done = this.#transfers.get(event.id)?.done;
        if (done === undefined) return false;
        this.#clock = Math.max(this.#clock, done);
        return true;
      }
    }
  }

  #send({ to, tag, seconds }: Sending): Transfer {
    const message = { started: this.#clock, seconds };
    this.#mail.send(this.#index, to, tag, message);
    return message;
  }
}
