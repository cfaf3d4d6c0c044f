import { driverStatus } from "../../../../ffi/driver.ts";
import { outI32 } from "../../../../ffi/memory.ts";
import {
  checkNccl,
  joinNccl,
  type Nccl,
  NCCL_UNIQUE_ID_BYTES,
  ncclError,
  ncclStatus,
  ncclType,
  ncclUniqueId,
} from "../../../../ffi/nccl.ts";
import { LocalgradError } from "../../../base/errors.ts";
import type { Plan } from "../../../compile/plan.ts";
import { pendingSteps } from "../../../compile/pending.ts";
import type { Communicator, Communicators } from "../../communicator.ts";
import type { Card } from "../card.ts";

/** A communicator of NCCL, with the stream of its exchanges: what it does next to other communicators never waits for them. */
export interface Channel {
  /** NCCL's handle. */
  readonly handle: bigint;
  /** The stream. */
  readonly stream: bigint;
}

/** The direction from one process of a group to another. */
export interface Direction {
  /** The group. */
  readonly group: string;
  /** The number of the sender. */
  readonly from: number;
  /** The number of the receiver. */
  readonly to: number;
}

/** The tag of messages with ids, which go through the communicators of the groups: the last that there is. */
const ID_TAG = 32767;

/**
 * The groups of processes of a device, as communicators of NCCL. Each is made with an id that one process makes and the
 * group's own communicator carries to the others.
 *
 * Messages of each direction have a communicator of two processes. In one communicator all operations wait for each other
 * in the order issued, and a message has not left until it has been received: two processes that send before they receive
 * would wait for each other for ever. NCCL knows no tags, so messages of one direction are received in the order sent.
 */
export class Groups {
  /** NCCL's functions. */
  readonly nccl: Nccl;
  readonly #card: Card;
  readonly #communicators: Communicators;
  readonly #channels = new Map<string, Channel>();
  #failure: LocalgradError | undefined;

  /**
   * Joins the groups of more than one process, in the order of their names, which is the same on all processes, and connects
   * the neighbours in those that are to have messages: not later, when one process might wait for another in vain.
   */
  constructor(
    nccl: Nccl,
    card: Card,
    communicators: Communicators,
    messages: readonly string[] = Object.keys(communicators),
  ) {
    this.nccl = nccl;
    this.#card = card;
    this.#communicators = communicators;
    try {
      for (const name of Object.keys(communicators).sort()) {
        const communicator = this.#communicator(name);
        if (communicator.size > 1) {
          this.#join(name, communicator.size, communicator.rank, shareId(nccl, communicator));
        }
      }
      for (const name of messages.toSorted()) this.#connectNeighbours(name);
    } catch (error) {
      this.close();
      throw error;
    }
    card.watch = () => this.check();
  }

  /** The number of this process in a group. */
  rank(group: string): number {
    return this.#communicator(group).rank;
  }

  /** The channel of the reductions and broadcasts of a group. */
  group(name: string): Channel {
    return this.#channel(name);
  }

  /** The channel of messages from a process of a group to another. */
  messages(direction: Direction): Channel {
    return this.#channel(keyOf(direction));
  }

  /**
   * Opens the channels that a plan's messages need. Both ends of each have to, at the same time. Processes that differ by
   * one in a group are connected already; others when both compile a program with messages between them.
   */
  prepare(plan: Plan): void {
    const directions = pendingSteps(plan).flatMap(({ instruction }): Direction[] => {
      if (instruction.op !== "send" && instruction.op !== "receive") return [];
      const { group } = instruction.attrs;
      const own = this.rank(group);
      return instruction.op === "send"
        ? [{ group, from: own, to: instruction.attrs.to }]
        : [{ group, from: instruction.attrs.from, to: own }];
    });
    // In one order on all processes, so that no two wait for each other.
    const sorted = directions.sort((a, b) =>
      a.group < b.group ? -1 : a.group > b.group ? 1 : a.from - b.from || a.to - b.to
    );
    for (const direction of sorted) {
      if (!this.#channels.has(keyOf(direction))) this.#connect(direction);
    }
  }

  #connectNeighbours(group: string): void {
    const { rank, size } = this.#communicator(group);
    for (let lower = Math.max(0, rank - 1); lower <= rank && lower + 1 < size; lower++) {
      this.#connect({ group, from: lower, to: lower + 1 });
      this.#connect({ group, from: lower + 1, to: lower });
    }
  }

  /** Opens a channel. A first word is sent, because NCCL connects two processes only when both use a communicator. */
  #connect(direction: Direction): void {
    const { group, from, to } = direction;
    const communicator = this.#communicator(group);
    if (from === to) {
      throw new LocalgradError(`cuda: process ${from} of the group "${group}" sends a message to itself`);
    }
    const { nccl } = this;
    const sends = communicator.rank === from;
    const id = sends ? ncclUniqueId(nccl) : new Uint8Array(NCCL_UNIQUE_ID_BYTES);
    (sends ? communicator.send(id, to, ID_TAG) : communicator.receive(id, from, ID_TAG)).wait();
    const { handle, stream } = this.#join(keyOf(direction), 2, sends ? 0 : 1, id);
    const word = this.#card.allocate(4);
    try {
      this.#card.clear(word, 4);
      this.#card.synchronize();
      const doing = `connecting process ${from} to ${to}`;
      const type = ncclType.ncclInt32;
      const status = sends
        ? nccl.ncclSend(word, 1n, type, 1, handle, stream)
        : nccl.ncclRecv(word, 1n, type, 0, handle, stream);
      checkNccl(nccl, status, doing);
      this.#card.check(this.#card.driver.cuStreamSynchronize(stream), doing);
    } finally {
      this.#card.free(word);
    }
  }

  #join(key: string, size: number, rank: number, id: Uint8Array<ArrayBuffer>): Channel {
    const handle = joinNccl(this.nccl, id, size, rank);
    try {
      const channel = { handle, stream: this.#card.createStream() };
      this.#channels.set(key, channel);
      return channel;
    } catch (error) {
      this.nccl.ncclCommAbort(handle);
      throw error;
    }
  }

  /**
   * Throws if another process or the way to it has failed, which NCCL reports late, or if this process has given up on the
   * others. All communicators are aborted then, so that the card waits for nothing that will never come.
   */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (Object.values(this.#communicators).some(({ abandoned }) => abandoned === true)) {
      this.#fail(
        new LocalgradError("cuda: an error has ended the work of these processes; start them again"),
      );
    }
    for (const [key, { handle }] of this.#channels) {
      const found = outI32();
      const status = this.nccl.ncclCommGetAsyncError(handle, found.buffer);
      const fault = status === ncclStatus.ncclSuccess ? found.value : status;
      if (fault === ncclStatus.ncclSuccess || fault === ncclStatus.ncclInProgress) continue;
      this.#fail(ncclError(this.nccl, fault, `exchanging data in ${key}`));
    }
  }

  #fail(failure: LocalgradError): never {
    this.#failure = failure;
    for (const { handle } of this.#channels.values()) this.nccl.ncclCommAbort(handle);
    throw failure;
  }

  /** Waits for all work of the device, and lets the event loop turn meanwhile. */
  async settled(): Promise<void> {
    const { driver } = this.#card;
    const event = this.#card.createEvent();
    try {
      this.#card.record(event, this.#card.stream);
      while (driver.cuEventQuery(event) === driverStatus.CUDA_ERROR_NOT_READY) {
        this.check();
        await new Promise<void>((resolve) => setTimeout(resolve, 1));
      }
      this.check();
    } finally {
      driver.cuEventDestroy_v2(event);
    }
  }

  /** Leaves all groups: waits until all messages have left, unless an exchange has failed. */
  close(): void {
    const { driver } = this.#card;
    for (const { handle, stream } of [...this.#channels.values()].reverse()) {
      this.#card.drain(stream);
      if (this.#failure === undefined) {
        this.nccl.ncclCommFinalize(handle);
        this.nccl.ncclCommDestroy(handle);
      }
      driver.cuStreamDestroy_v2(stream);
    }
    this.#channels.clear();
    this.#card.watch = () => {};
  }

  #channel(key: string): Channel {
    const channel = this.#channels.get(key);
    if (channel === undefined) throw new Error(`cuda: there is no channel ${key}`);
    return channel;
  }

  #communicator(name: string): Communicator {
    const communicator = this.#communicators[name];
    if (communicator === undefined) throw new Error(`cuda: there is no group ${name}`);
    return communicator;
  }
}

function keyOf({ group, from, to }: Direction): string {
  return `${group}, from process ${from} to ${to}`;
}

/** The id that process 0 of a group makes, on all of them. */
function shareId(nccl: Nccl, communicator: Communicator): Uint8Array<ArrayBuffer> {
  const id = communicator.rank === 0 ? ncclUniqueId(nccl) : new Uint8Array(NCCL_UNIQUE_ID_BYTES);
  communicator.broadcast(id, 0).wait();
  return id;
}
