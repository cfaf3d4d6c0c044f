import { at } from "../../../base/at.ts";
import type { Card } from "../card.ts";
import type { Channel } from "./groups.ts";

/**
 * The messages of one send. A run copies its value here and goes on. The message leaves from here on a stream of its own,
 * outside of the captured graph, which would have to wait for it: a message may outlive its run. With room for several, a
 * message makes way for the next by moving to a slot.
 *
 * A graph cannot alternate between addresses, so it always writes to the same memory, which counts as the first slot.
 */
export class Outbox {
  readonly #card: Card;
  readonly #channel: Channel;
  readonly #send: (address: bigint) => void;
  readonly #bytes: number;
  readonly #address: bigint;
  /** Recorded once a run's value is here. */
  readonly #filled: bigint;
  /** Recorded once the value is no longer needed here. */
  readonly #free: bigint;
  /** The slots, each with an event that is recorded once its message has left. */
  readonly #slots: readonly { readonly address: bigint; readonly left: bigint }[];
  /** The stream on which messages move to slots. */
  readonly #moving: bigint | undefined;
  readonly #closing: (() => void)[] = [];
  #sent = 0;
  /** True from the beginning of a run until its message was issued. */
  #isDue = false;

  /** Room for `depth` messages of `bytes` bytes; `send` issues the message at an address on the channel's stream. */
  constructor(card: Card, channel: Channel, bytes: number, depth: number, send: (address: bigint) => void) {
    this.#card = card;
    this.#channel = channel;
    this.#bytes = bytes;
    this.#send = send;
    const { driver } = card;
    const kept = (made: bigint, close: (made: bigint) => void): bigint => {
      this.#closing.push(() => close(made));
      return made;
    };
    const memory = () => kept(card.allocate(bytes), (address) => card.free(address));
    const event = () => kept(card.createEvent(), driver.cuEventDestroy_v2);
    try {
      this.#address = memory();
      this.#filled = event();
      this.#free = event();
      this.#slots = Array.from({ length: depth - 1 }, () => ({ address: memory(), left: event() }));
      this.#moving = depth > 1 ? kept(card.createStream(), driver.cuStreamDestroy_v2) : undefined;
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /** Makes the next run wait until there is room for its message. */
  reserve(): void {
    this.#isDue = true;
    if (this.#sent > 0) this.#card.wait(this.#card.stream, this.#free);
  }

  /** Part of a run: copies its value here. */
  fill(from: bigint, bytes: number, isCaptured: boolean): void {
    const { stream } = this.#card;
    this.#card.copy(this.#address, from, bytes);
    if (isCaptured) this.#card.recordExternally(this.#filled, stream);
    else this.#card.record(this.#filled, stream);
  }

  /** Sends the message of the run being issued or just issued, as soon as it is here; once for each run. */
  dispatch(): void {
    if (!this.#isDue) return;
    this.#isDue = false;
    const { stream } = this.#channel;
    const card = this.#card;
    const slot = this.#slots.length > 0 ? at(this.#slots, this.#sent % this.#slots.length) : undefined;
    if (slot === undefined || this.#moving === undefined) {
      card.wait(stream, this.#filled);
      this.#send(this.#address);
      card.record(this.#free, stream);
    } else {
      card.wait(this.#moving, this.#filled);
      if (this.#sent >= this.#slots.length) card.wait(this.#moving, slot.left);
      card.copy(slot.address, this.#address, this.#bytes, this.#moving);
      card.record(this.#free, this.#moving);
      card.wait(stream, this.#free);
      this.#send(slot.address);
      card.record(slot.left, stream);
    }
    this.#sent++;
  }

  /** Waits until all messages have left, and frees everything. The status is ignored: the card may be lost. */
  dispose(): void {
    if (this.#moving !== undefined) this.#card.drain(this.#moving);
    this.#card.drain(this.#channel.stream);
    this.#close();
  }

  #close(): void {
    for (const close of this.#closing.splice(0).reverse()) close();
  }
}
