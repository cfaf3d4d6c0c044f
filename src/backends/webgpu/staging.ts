import { at } from "../../base/at.ts";
import { exchangedBy } from "../../compile/collectives.ts";
import type { PendingStep } from "../../compile/pending.ts";
import type { Plan, Step } from "../../compile/plan.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import type { Communicators } from "../communicator.ts";
import { Exchanges, type HostMemory } from "../exchanges.ts";
import { BufferUsage, MapMode } from "./flags.ts";
import type { Gpu } from "./gpu.ts";
import { ALIGNMENT } from "./target.ts";

/** Some bytes of a buffer. */
export interface Stretch {
  readonly buffer: GPUBuffer;
  readonly offset: number;
}

/** What the exchanges of one run need of it. */
export interface Run {
  /** Submits the dispatches of the steps from `from` up to `to`. */
  submit(from: number, to: number): void;
  /** The memory of a value on the device. */
  place(step: Step, value: ValueId): Stretch;
}

/**
 * The exchanges of a plan, staged through the host. Where one starts, its value is copied into a buffer of its own, which
 * is mapped; once that is done the message leaves, or the reduction begins, while the steps after it run. What arrives is
 * written back before the first step that reads it. Mapping takes Deno about 11 ms, in which all exchanges that have
 * started share, so the steps between two of them are worth having.
 */
export class Staging {
  /** Bytes that exchanges take in the host's memory, besides the device's buffers. */
  readonly heldBytes: number;
  readonly #gpu: Gpu;
  readonly #plan: Plan;
  readonly #exchanges: Exchanges;
  /** The buffer of each exchange that sends something of this process. */
  readonly #buffers = new Map<PendingStep, GPUBuffer>();
  /** What arrives where nothing of this process is sent. */
  readonly #arriving = new Map<PendingStep, Uint8Array>();

  /** Allocates what the exchanges of a plan need. */
  constructor(gpu: Gpu, plan: Plan, communicators: Communicators) {
    this.#gpu = gpu;
    this.#plan = plan;
    let held = 0;
    const onHost = (bytes: number) => {
      held += bytes;
      return new Uint8Array(bytes);
    };
    const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    this.#exchanges = new Exchanges(plan, communicators, (bytes) => {
      const slot = onHost(aligned(bytes));
      return () => slot;
    });
    try {
      for (const step of this.#exchanges.steps) {
        const { instruction } = step;
        const bytes = aligned(this.#size(exchangedBy(instruction)));
        const isSent = instruction.op !== "receive" && (instruction.op !== "broadcastFrom" ||
          communicators[instruction.attrs.group]?.rank === instruction.attrs.root);
        if (!isSent) this.#arriving.set(step, onHost(bytes));
        else this.#buffers.set(step, gpu.create(bytes, BufferUsage.MAP_READ | BufferUsage.COPY_DST));
      }
    } catch (error) {
      this.free();
      throw error;
    }
    this.heldBytes = held;
  }

  /** True if the plan exchanges anything. */
  get isNeeded(): boolean {
    return this.#exchanges.steps.length > 0;
  }

  /** Runs the plan: its steps in stretches between exchanges. */
  async run(run: Run): Promise<void> {
    const { steps } = this.#exchanges;
    const end = this.#plan.steps.length;
    /** The exchanges begun in this run, in order: those of all processes have to match. */
    let begun = Promise.resolve();
    begun.catch(() => {});
    let from = 0;
    for (const position of [...this.#exchanges.stops, end]) {
      run.submit(from, position);
      from = position;
      this.#exchanges.poll();
      if (position === end || steps.some(({ before }) => before === position)) {
        await begun;
        await this.#exchanges.settle(position);
      }
      for (const step of steps) {
        if (step.position !== position) continue;
        begun = this.#begin(step, run, begun);
        begun.catch(() => {}); // it is awaited where a step needs it, or at the end
      }
    }
    await begun;
    await this.#exchanges.settle(end);
  }

  /** Begins an exchange once its value is on the host and those before it have begun. */
  async #begin(step: PendingStep, run: Run, previous: Promise<void>): Promise<void> {
    const reading = this.#read(step, run);
    await previous.catch((error) => {
      reading.catch(() => {});
      throw error;
    });
    const data = await reading;
    if (step.instruction.op === "send") await this.#exchanges.settleSlot(step);
    const memory: HostMemory = {
      bytes: () => data,
      changed: (value, bytes) => {
        const { buffer, offset } = run.place(this.#step(step), value);
        this.#gpu.device.queue.writeBuffer(buffer, offset, bytes as Uint8Array<ArrayBuffer>);
      },
    };
    this.#exchanges.start(step, memory);
  }

  /** Copies the value of an exchange to the host, as it is at this point of the queue. */
  async #read(step: PendingStep, run: Run): Promise<Uint8Array> {
    const staging = this.#buffers.get(step);
    if (staging === undefined) return this.#arriving.get(step) ?? new Uint8Array();
    const value = exchangedBy(step.instruction);
    const { buffer, offset } = run.place(this.#step(step), value);
    const encoder = this.#gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, staging, 0, this.#size(value));
    this.#gpu.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(MapMode.READ);
    this.#gpu.check();
    const data = new Uint8Array(staging.getMappedRange().slice(0, this.#size(value)));
    staging.unmap();
    return data;
  }

  /** Waits until all messages have left. */
  async left(): Promise<void> {
    await this.#exchanges.settleSlots();
    this.#exchanges.dispose();
  }

  /** Frees its buffers; all messages must have left. */
  free(): void {
    for (const buffer of this.#buffers.values()) this.#gpu.destroy(buffer);
    this.#buffers.clear();
  }

  #step({ position }: PendingStep): Step {
    return at(this.#plan.steps, position);
  }

  #size(value: ValueId): number {
    return bytesOf(at(this.#plan.values, value));
  }
}
