import { at } from "../base/at.ts";
import { type PendingStep, pendingSteps } from "../compile/pending.ts";
import type { Plan } from "../compile/plan.ts";
import { bytesOf, hostArrays, sizeOf } from "../trace/dtype.ts";
import type { InstructionOf, ValueId } from "../trace/program.ts";
import type { Communicator, Communicators, Pending } from "./communicator.ts";

/** The memory of a running plan, as bytes of the host. */
export interface HostMemory {
  /** The bytes of a value, of which a transfer may read and write until it is done. */
  bytes(value: ValueId): Uint8Array;
  /** Called once a transfer has changed the bytes of a value, if those are not the value's own memory. */
  changed?(value: ValueId, bytes: Uint8Array): void;
}

/** A transfer under way, and what to do when it is done. */
interface Transfer {
  readonly step: PendingStep;
  readonly pending: Pending;
  readonly finish: () => void;
}

/** The bytes of a slot, as the memory has them now: a view made before a memory grew may be of no use. */
export type Slot = () => Uint8Array;

/** The slots of a send: each is free, or holds a message on its way. The oldest is used again first. */
interface Slots {
  readonly memory: readonly Slot[];
  readonly pending: (Pending | undefined)[];
  next: number;
}

/**
 * The exchanges of a compiled plan with other processes. A backend starts each at its place among the steps, in program
 * order, and has those finished that a step waits for before it runs. Messages stay in slots of their own until they have
 * left, also beyond the end of a run.
 */
export class Exchanges {
  /** The collective steps, in order. */
  readonly steps: readonly PendingStep[];
  readonly #communicators: Communicators;
  readonly #values: Plan["values"];
  readonly #slots = new Map<PendingStep, Slots>();
  #transfers: Transfer[] = [];
  #failed = false;

  /**
   * @param allocate Gives memory for a slot of some bytes, which stays where it is until the plan is disposed of.
   * @throws If the plan needs a group that is not there: the compiler lets no such plan through.
   */
  constructor(plan: Plan, communicators: Communicators, allocate: (bytes: number) => Slot) {
    this.#communicators = communicators;
    this.#values = plan.values;
    this.steps = pendingSteps(plan);
    for (const step of this.steps) {
      this.#group(step.instruction.attrs.group);
      if (step.instruction.op !== "send") continue;
      const { inputs: [x], attrs: { depth } } = step.instruction;
      this.#slots.set(step, {
        memory: Array.from({ length: depth }, () => allocate(bytesOf(at(plan.values, x)))),
        pending: new Array(depth),
        next: 0,
      });
    }
  }

  /** The positions of steps before which there is something to do, in order: to start an exchange, or to finish one. */
  get stops(): readonly number[] {
    const positions = this.steps.flatMap(({ position, before }) => [position, before]);
    return [...new Set(positions)].sort((a, b) => a - b);
  }

  /** Does what there is to do before step `position`: finishes what it waits for, then starts its own exchange. */
  stop(position: number, memory: HostMemory): void {
    this.#finish(({ step }) => step.before <= position);
    for (const step of this.steps) if (step.position === position) this.start(step, memory);
    this.poll();
  }

  /** Finishes what step `position` waits for, and lets the event loop turn meanwhile. */
  async settle(position: number): Promise<void> {
    const isDue = ({ step }: Transfer) => step.before <= position;
    await this.#settled(this.#transfers.filter(isDue).map(({ pending }) => pending));
    this.#finish(isDue);
  }

  /** Waits until a send has a free slot, and lets the event loop turn meanwhile. */
  async settleSlot(step: PendingStep): Promise<void> {
    const slots = this.#slots.get(step);
    const sent = slots?.pending[slots.next];
    if (sent !== undefined) await this.#settled([sent]);
  }

  /** Waits until all messages have left, and lets the event loop turn meanwhile. */
  async settleSlots(): Promise<void> {
    if (this.#failed) return; // nothing would arrive
    const sent = [...this.#slots.values()].flatMap(({ pending }) =>
      pending.filter((each) => each !== undefined)
    );
    await this.#settled(sent);
  }

  /** Starts the exchange of a step. */
  start(step: PendingStep, memory: HostMemory): void {
    const { instruction } = step;
    const group = this.#group(instruction.attrs.group);
    this.#guarded(() => {
      switch (instruction.op) {
        case "allReduce": {
          const data = this.#copied(instruction, memory);
          const { dtype } = at(this.#values, instruction.output);
          this.#under(step, group.allReduce(data, dtype, instruction.attrs.fn), memory, data);
          break;
        }
        case "broadcastFrom": {
          const data = this.#copied(instruction, memory);
          this.#under(step, group.broadcast(data, instruction.attrs.root), memory, data);
          break;
        }
        case "receive": {
          const data = this.#bytes(instruction.output, memory);
          const { from, tag } = instruction.attrs;
          this.#under(step, group.receive(data, from, tag), memory, data);
          break;
        }
        case "send":
          this.#send(step, instruction, group, memory);
          break;
      }
    });
  }

  /** Waits for all exchanges of this run; messages may still be on their way. */
  finishRun(): void {
    this.#finish(() => true);
  }

  /** True while a transfer is under way. */
  get busy(): boolean {
    return this.#transfers.length > 0 ||
      this.#slots.values().some(({ pending }) => pending.some((sent) => sent !== undefined));
  }

  /** Lets what is under way progress: without calls, MPI moves nothing. */
  poll(): void {
    this.#guarded(() => {
      for (const { pending } of this.#transfers) pending.done();
      for (const { pending } of this.#slots.values()) {
        for (const [slot, sent] of pending.entries()) if (sent?.done()) pending[slot] = undefined;
      }
    });
  }

  /** Waits until all messages have left; afterwards their slots may be freed. */
  dispose(): void {
    if (this.#failed) return; // nothing would arrive
    for (const { pending } of this.#slots.values()) {
      for (const [slot, sent] of pending.entries()) {
        sent?.wait();
        pending[slot] = undefined;
      }
    }
  }

  #send(step: PendingStep, send: InstructionOf<"send">, group: Communicator, memory: HostMemory): void {
    const slots = this.#slots.get(step);
    if (slots === undefined) throw new Error("a send without slots");
    const { next } = slots;
    slots.pending[next]?.wait();
    const data = at(slots.memory, next)().subarray(0, this.#size(send.inputs[0]));
    data.set(this.#bytes(send.inputs[0], memory));
    slots.pending[next] = group.send(data, send.attrs.to, send.attrs.tag);
    slots.next = (next + 1) % slots.memory.length;
  }

  /** The bytes of the result, with the operand in them: the exchange replaces it there. */
  #copied(
    { inputs: [x], output }: InstructionOf<"allReduce" | "broadcastFrom">,
    memory: HostMemory,
  ): Uint8Array {
    const [from, data] = [this.#bytes(x, memory), this.#bytes(output, memory)];
    if (from.buffer !== data.buffer || from.byteOffset !== data.byteOffset) data.set(from);
    return data;
  }

  #under(step: PendingStep, pending: Pending, memory: HostMemory, data: Uint8Array): void {
    const finish = () => memory.changed?.(step.instruction.output, data);
    this.#transfers.push({ step, pending, finish });
  }

  #finish(isDue: (transfer: Transfer) => boolean): void {
    if (this.#transfers.length === 0) return;
    this.#guarded(() => {
      for (const transfer of this.#transfers.filter(isDue)) {
        transfer.pending.wait();
        transfer.finish();
      }
      this.#transfers = this.#transfers.filter((transfer) => !isDue(transfer));
    });
  }

  async #settled(transfers: readonly Pending[]): Promise<void> {
    try {
      for (const pending of transfers) await pending.settled();
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /** Remembers a failure: what is under way will never be done. */
  #guarded(body: () => void): void {
    try {
      body();
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  #group(name: string): Communicator {
    const group = this.#communicators[name];
    if (group === undefined) throw new Error(`there is no group ${name}`);
    return group;
  }

  #bytes(value: ValueId, memory: HostMemory): Uint8Array {
    return memory.bytes(value).subarray(0, this.#size(value));
  }

  /** The bytes of a value without padding. */
  #size(value: ValueId): number {
    const { shape, dtype } = at(this.#values, value);
    return sizeOf(shape) * hostArrays[dtype].BYTES_PER_ELEMENT;
  }
}
