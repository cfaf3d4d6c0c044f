import type { Communicator, Pending } from "../../backends/communicator.ts";
import { at } from "../../base/at.ts";
import {
  OUTSIDE,
  ownTracked,
  type Part,
  receiveTracked,
  sendTracked,
  type Tracked,
  trackedBy,
} from "../../local/processes/exchange.ts";
import type { TrainState } from "../../local/setup.ts";
import type { Initial } from "../../nn/initial.ts";
import { type Device, disposeTree } from "../../runtime/arrays.ts";
import type { DeviceArray } from "../../runtime/device_array.ts";
import { jit, type Jitted } from "../../runtime/jit.ts";
import type { Aval } from "../../trace/dtype.ts";
import { full } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeLeaves } from "../../trace/tree.ts";
import { bytesOf, LAST, leavesOf, pack, stepsOf, unpack } from "./block_message.ts";

/** How old the tracked blocks were that steps read, in steps. */
export interface Staleness {
  /** The number of steps. */
  readonly steps: number;
  /** The sum of their blocks' ages. */
  readonly sum: number;
  /** The age of the oldest. */
  readonly most: number;
}

/**
 * The messages by which a process in a pipeline follows the first block of the next with a stale exchange: neither waits for
 * the other. A message is sent after every few steps unless two are still on their way, so that memory is bounded. The
 * first block precedes the first step; at the end all messages are received.
 *
 * Where pipelines share batches, the first of them has these messages, and passes what arrived on to the others before each
 * step: all average the same block.
 */
export class StaleBlocks implements Disposable {
  readonly #sender: Sender | undefined;
  readonly #receiver: Receiver | undefined;
  #isOpen = false;

  /** For the part of a setup on a device, in its groups of processes; nothing to do if the exchange is exact. */
  constructor(part: Part | undefined, device: Device | undefined, groups: Groups | undefined) {
    if (part?.staleEvery === undefined || device === undefined || groups === undefined) return;
    if (leavesOf(trackedBy(part.sends)).length > 0) this.#sender = new Sender(part, device, groups.modules);
    if (leavesOf(trackedBy(part.reads)).length > 0) this.#receiver = new Receiver(part, device, groups);
  }

  /** The next process's first block as it last arrived: an argument of each step. */
  get tracked(): Tracked<DeviceArray> {
    return this.#receiver?.tracked ?? { before: NOTHING, after: NOTHING };
  }

  /** To be called before each step, after so many: takes the newest block that has arrived. */
  before(train: TrainState<DeviceArray>, steps: number): void {
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.#sender?.open(train, steps);
      this.#receiver?.open(steps);
    }
    this.#receiver?.take(steps);
  }

  /** To be called after each step, with the values that it left and the number of steps: sends the first block. */
  after(train: TrainState<DeviceArray>, steps: number): void {
    this.#sender?.send(train, steps);
  }

  /** To be called after the last step, so that all messages are received; not after an error, when none may come. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#sender?.close();
    this.#receiver?.close();
  }

  /** The staleness of the steps since the last call; undefined if this process tracks no other's block. */
  measured(): Staleness | undefined {
    return this.#receiver?.measured();
  }

  /** Frees the compiled programs and the tracked block. */
  [Symbol.dispose](): void {
    this.#sender?.dispose();
    this.#receiver?.dispose();
  }
}

/** The groups of a process: those with the same modules, and those of its pipeline. */
interface Groups {
  readonly data: Communicator;
  readonly modules: Communicator;
}

const NOTHING = { params: {}, state: {} };

/** Messages that may be on their way at once. */
const SLOTS = 2;

/** Memory of a message, and the message while it is on its way. */
interface Slot {
  readonly memory: Uint8Array;
  pending: Pending | undefined;
}

/** Sends a process's first block to the process before. */
class Sender {
  readonly #part: Part;
  readonly #group: Communicator;
  readonly #first: Jitted<[train: TrainState<Tensor>], Tensor>;
  readonly #slots: Slot[];
  /** The number of steps after which the last message was sent. */
  #sent = 0;
  /** The read of a block, if one is not done; forgotten when the messages end. */
  #reading: object | undefined;
  #error: unknown;

  constructor(part: Part, device: Device, group: Communicator) {
    this.#part = part;
    this.#group = group;
    const bytes = bytesOf(leavesOf(trackedBy(part.sends)));
    this.#slots = Array.from(
      { length: SLOTS },
      (): Slot => ({ memory: new Uint8Array(bytes), pending: undefined }),
    );
    this.#first = jit((train: TrainState<Tensor>) => {
      sendTracked(part, train);
      return full([], 0);
    }, { device, name: "first block" });
  }

  open(train: TrainState<DeviceArray>, steps: number): void {
    disposeTree(this.#first(train));
    this.#sent = steps;
  }

  send(train: TrainState<DeviceArray>, steps: number): void {
    if (this.#part.place.data > 0) return;
    this.#raise();
    for (const slot of this.#slots) if (slot.pending?.done()) slot.pending = undefined;
    const slot = this.#slots.find(({ pending }) => pending === undefined);
    const { staleEvery = 1 } = this.#part;
    if (slot === undefined || this.#reading !== undefined || steps - this.#sent < staleEvery) return;
    this.#sent = steps;
    const reading = this.#reading = {};
    const values = leavesOf(ownTracked<DeviceArray>(this.#part, train));
    Promise.all(values.map((value) => value.read())).then((data) => {
      if (this.#reading !== reading) return; // the messages have ended
      this.#reading = undefined;
      pack(slot.memory, steps, data);
      slot.pending = this.#group.send(slot.memory, this.#group.rank - 1, OUTSIDE);
    }).catch((error) => this.#error = error);
  }

  close(): void {
    if (this.#part.place.data > 0) return;
    this.#reading = undefined;
    this.#raise();
    for (const slot of this.#slots) {
      slot.pending?.wait();
      slot.pending = undefined;
    }
    const { memory } = at(this.#slots, 0);
    pack(memory, LAST, []);
    this.#group.send(memory, this.#group.rank - 1, OUTSIDE).wait();
  }

  dispose(): void {
    this.#first.dispose();
  }

  #raise(): void {
    if (this.#error !== undefined) throw this.#error;
  }
}

/** Receives the first block of the next process. */
class Receiver {
  readonly #groups: Groups;
  readonly #first: Jitted<[], Tracked>;
  readonly #avals: readonly Aval[];
  /** Steps by which a step reads a newer block if the exchange is exact: one that it reads as the step leaves it. */
  readonly #ahead: number;
  #tracked: Tracked<DeviceArray> | undefined;
  /** The memory that the next message arrives in, and that of the message before it. */
  #incoming: Uint8Array;
  #other: Uint8Array;
  #pending: Pending | undefined;
  /** The number of steps after which the tracked block was like that. */
  #steps = 0;
  #measured: Staleness = NONE;

  constructor(part: Part, device: Device, groups: Groups) {
    this.#groups = groups;
    const tracked = trackedBy(part.reads);
    this.#avals = leavesOf<Initial>(tracked);
    this.#ahead = treeLeaves<Initial>([tracked.before.params, tracked.before.state]).length > 0 ? 0 : 1;
    const bytes = bytesOf(this.#avals);
    this.#incoming = new Uint8Array(bytes);
    this.#other = new Uint8Array(bytes);
    this.#first = jit(() => receiveTracked(part), { device, name: "first block" });
  }

  get tracked(): Tracked<DeviceArray> | undefined {
    return this.#tracked;
  }

  open(steps: number): void {
    this.#free();
    this.#tracked = this.#first() as Tracked<DeviceArray>;
    this.#steps = steps;
    if (this.#groups.data.rank === 0) this.#receive();
  }

  take(steps: number): void {
    const newest = this.#shared(this.#newest());
    if (newest !== undefined && this.#tracked !== undefined) {
      this.#steps = stepsOf(newest);
      unpack(newest, this.#avals, leavesOf<DeviceArray>(this.#tracked));
    }
    const age = steps + this.#ahead - this.#steps;
    const { steps: count, sum, most } = this.#measured;
    this.#measured = { steps: count + 1, sum: sum + age, most: Math.max(most, age) };
  }

  close(): void {
    while (this.#pending !== undefined) {
      this.#pending.wait();
      this.#next();
    }
  }

  measured(): Staleness {
    const measured = this.#measured;
    this.#measured = NONE;
    return measured;
  }

  dispose(): void {
    this.#first.dispose();
    this.#free();
  }

  /** The newest message that has arrived since the last call. */
  #newest(): Uint8Array | undefined {
    let newest: Uint8Array | undefined;
    while (this.#pending?.done()) newest = this.#next() ?? newest;
    return newest;
  }

  /** What the first of the processes with the same modules has received, on all of them. */
  #shared(newest: Uint8Array | undefined): Uint8Array | undefined {
    const { data } = this.#groups;
    if (data.size === 1) return newest;
    const word = Int32Array.of(newest === undefined ? 0 : 1);
    data.broadcast(new Uint8Array(word.buffer), 0).wait();
    if (word[0] === 0) return undefined;
    const message = newest ?? this.#other;
    data.broadcast(message, 0).wait();
    return message;
  }

  /** Takes the message that has arrived, and receives the next if it was not the last; undefined if it was. */
  #next(): Uint8Array | undefined {
    const arrived = this.#incoming;
    this.#pending = undefined;
    if (stepsOf(arrived) === LAST) return undefined;
    [this.#incoming, this.#other] = [this.#other, arrived];
    this.#receive();
    return arrived;
  }

  #receive(): void {
    const { modules } = this.#groups;
    this.#pending = modules.receive(this.#incoming, modules.rank + 1, OUTSIDE);
  }

  #free(): void {
    if (this.#tracked !== undefined) disposeTree(leavesOf<DeviceArray>(this.#tracked));
    this.#tracked = undefined;
  }
}

const NONE: Staleness = { steps: 0, sum: 0, most: 0 };
