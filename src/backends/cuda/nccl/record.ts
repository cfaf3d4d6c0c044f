import { checkNccl, ncclOp, ncclType } from "../../../../ffi/nccl.ts";
import { at } from "../../../base/at.ts";
import type { PendingStep } from "../../../compile/pending.ts";
import type { Plan, Step } from "../../../compile/plan.ts";
import { bytesOf, type DType, sizeOf } from "../../../trace/dtype.ts";
import type { InstructionOf } from "../../../trace/program.ts";
import { placeOf } from "../../place.ts";
import type { Card } from "../card.ts";
import type { Addresses } from "../launch.ts";
import { ALIGNMENT } from "../target.ts";
import type { Channel, Direction, Groups } from "./groups.ts";
import { comparesFloats } from "./lower.ts";
import { Outbox } from "./outbox.ts";

const types: { readonly [D in Exclude<DType, "u8">]: number } = {
  f32: ncclType.ncclFloat32,
  bf16: ncclType.ncclBfloat16,
  i32: ncclType.ncclInt32,
  u32: ncclType.ncclUint32,
  bool: ncclType.ncclUint32,
};

const ops = { sum: ncclOp.ncclSum, max: ncclOp.ncclMax, min: ncclOp.ncclMin } as const;

/** An exchange that is ready to be issued. */
interface Recorded {
  bind(addresses: Addresses): void;
  run(): void;
  describe(): string;
}

/**
 * The exchanges of one plan. Each starts on the stream of its channel, after the work before it, and runs beside the work
 * after it, up to the step that waits for it: captured, it is a branch of the run's graph. Messages of a graph leave after
 * it was launched ({@link Outbox}).
 */
export class PlanExchanges {
  readonly #card: Card;
  readonly #groups: Groups;
  readonly #plan: Plan;
  readonly #outboxes: Outbox[] = [];
  readonly #closing: (() => void)[] = [];
  /** The event that is recorded at the end of each exchange. */
  readonly #done = new Map<PendingStep, bigint>();
  /** The event that is recorded where an exchange starts. */
  readonly #begun: bigint;
  #isCaptured = false;

  /** Opens the channels that a plan needs: waits for other processes. */
  constructor(card: Card, groups: Groups, plan: Plan) {
    this.#card = card;
    this.#groups = groups;
    this.#plan = plan;
    groups.prepare(plan);
    this.#begun = this.#event();
  }

  #event(): bigint {
    const event = this.#card.createEvent();
    this.#closing.push(() => this.#card.driver.cuEventDestroy_v2(event));
    return event;
  }

  /** Issues a run, in which `issue` issues the launches. */
  run(isCaptured: boolean, issue: () => void): void {
    this.#isCaptured = isCaptured;
    issue();
  }

  /** Precedes each run, outside of a capture: makes it wait until there is room for its messages. */
  before(): void {
    this.#groups.check();
    for (const outbox of this.#outboxes) outbox.reserve();
  }

  /** Follows each run, outside of a capture: sends its messages. */
  after(): void {
    for (const outbox of this.#outboxes) outbox.dispatch();
  }

  /** The start of an exchange. */
  start(pending: PendingStep, step: Step): Recorded {
    const { instruction } = pending;
    return instruction.op === "send"
      ? this.#send(instruction, step)
      : this.#exchange(pending, instruction, step);
  }

  /** What makes the work after it wait for an exchange. */
  join(pending: PendingStep): Recorded {
    return {
      describe: () => `waiting for ${pending.instruction.op}`,
      bind() {},
      run: () => this.#card.wait(this.#card.stream, this.#doneEvent(pending)),
    };
  }

  #exchange(
    pending: PendingStep,
    instruction: InstructionOf<"allReduce"> | InstructionOf<"broadcastFrom"> | InstructionOf<"receive">,
    step: Step,
  ): Recorded {
    const card = this.#card;
    const { nccl } = this.#groups;
    const place = placeOf(this.#plan, step, instruction.output);
    const { op, attrs: { group } } = instruction;
    const channel = op === "receive"
      ? this.#groups.messages(this.#direction(instruction))
      : this.#groups.group(group);
    const call = this.#call(instruction, channel);
    const done = this.#event();
    this.#done.set(pending, done);
    let address = 0n;
    return {
      describe: () => `${op} in the group "${group}"`,
      bind: (addresses) => address = addresses(place),
      run: () => {
        card.record(this.#begun, card.stream);
        card.wait(channel.stream, this.#begun);
        checkNccl(nccl, call(address), `${op} in the group "${group}" of ${this.#plan.name}`);
        card.record(done, channel.stream);
      },
    };
  }

  /** The call of NCCL that exchanges the value at an address, in place. */
  #call(
    instruction: InstructionOf<"allReduce"> | InstructionOf<"broadcastFrom"> | InstructionOf<"receive">,
    { handle, stream }: Channel,
  ): (address: bigint) => number {
    const { nccl } = this.#groups;
    const { count, type } = this.#elements(instruction.output);
    switch (instruction.op) {
      case "allReduce": {
        const op = ops[instruction.attrs.fn];
        const reduced = comparesFloats(instruction, this.#plan) ? ncclType.ncclInt32 : type;
        return (address) => nccl.ncclAllReduce(address, address, count, reduced, op, handle, stream);
      }
      case "broadcastFrom": {
        const { root } = instruction.attrs;
        return (address) => nccl.ncclBroadcast(address, address, count, type, root, handle, stream);
      }
      case "receive":
        return (address) => nccl.ncclRecv(address, count, type, 0, handle, stream);
    }
  }

  #send(instruction: InstructionOf<"send">, step: Step): Recorded {
    const { nccl } = this.#groups;
    const { inputs: [x], attrs: { group, to, depth } } = instruction;
    const place = placeOf(this.#plan, step, x);
    const bytes = bytesOf(at(this.#plan.values, x));
    const { count, type } = this.#elements(x);
    const channel = this.#groups.messages({ group, from: this.#groups.rank(group), to });
    const outbox = new Outbox(
      this.#card,
      channel,
      Math.ceil(bytes / ALIGNMENT) * ALIGNMENT,
      depth,
      (address) => {
        const status = nccl.ncclSend(address, count, type, 1, channel.handle, channel.stream);
        checkNccl(nccl, status, `send to process ${to} of the group "${group}" in ${this.#plan.name}`);
      },
    );
    this.#outboxes.push(outbox);
    this.#closing.push(() => outbox.dispose());
    let address = 0n;
    return {
      describe: () => `send in the group "${group}"`,
      bind: (addresses) => address = addresses(place),
      run: () => {
        outbox.fill(address, bytes, this.#isCaptured);
        // At once where it can be: a host that waits for launches may wait for a message that answers this one.
        if (!this.#isCaptured) outbox.dispatch();
      },
    };
  }

  /** Waits until all messages have left, and frees everything. */
  dispose(): void {
    for (const close of this.#closing.splice(0)) close();
  }

  #direction({ attrs: { group, from } }: InstructionOf<"receive">): Direction {
    return { group, from, to: this.#groups.rank(group) };
  }

  #elements(value: number): { readonly count: bigint; readonly type: number } {
    const { shape, dtype } = at(this.#plan.values, value);
    if (dtype === "u8") throw new Error("bytes are not exchanged");
    return { count: BigInt(sizeOf(shape)), type: types[dtype] };
  }

  #doneEvent(pending: PendingStep): bigint {
    const done = this.#done.get(pending);
    if (done === undefined) throw new Error("an exchange is waited for that has not started");
    return done;
  }
}
