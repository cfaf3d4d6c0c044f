import { driverStatus } from "../../../ffi/driver.ts";
import type { Card } from "./card.ts";
import { Pinned } from "./pinned.ts";

/** Bytes of pinned memory that readbacks go through. */
const PINNED = 8 * 2 ** 20;

/** A read that was asked for. */
interface Request {
  readonly into: Uint8Array<ArrayBuffer>;
  readonly parts: { readonly from: Uint8Array<ArrayBuffer>; readonly at: number }[];
  readonly resolve: (bytes: Uint8Array<ArrayBuffer>) => void;
  readonly reject: (error: unknown) => void;
}

/** Copies from the card to the host, in the order of its work. */
export class Readbacks {
  readonly #card: Card;
  readonly #down: Pinned;
  #waiting: Request[] = [];
  #draining: Promise<void> | undefined;

  constructor(card: Card) {
    this.#card = card;
    this.#down = new Pinned(card, PINNED);
  }

  /**
   * Copies bytes from the card. The copy is issued at once, after the work before it; all reads in flight share one wait.
   * A read that does not fit into the pinned memory first waits for the reads that use it.
   */
  read(address: bigint, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return new Promise((resolve, reject) => {
      try {
        const request: Request = { into: new Uint8Array(length), parts: [], resolve, reject };
        for (let at = 0; at < length;) at += this.#issue(request, address, at);
        this.#waiting.push(request);
        this.#draining ??= this.#drain();
      } catch (error) {
        reject(error);
      }
    });
  }

  #issue(request: Request, address: bigint, at: number): number {
    if (this.#down.used >= PINNED) this.#empty([...this.#waiting, request]);
    const { address: to, bytes } = this.#down.take(request.into.length - at);
    const { driver, stream } = this.#card;
    const status = driver.cuMemcpyDtoHAsync_v2(to, address + BigInt(at), BigInt(bytes.length), stream);
    this.#card.check(status, `reading ${request.into.length} bytes back`);
    request.parts.push({ from: bytes, at });
    return bytes.length;
  }

  /** Blocks until all copies have arrived, and empties the pinned memory. */
  #empty(requests: readonly Request[]): void {
    this.#card.synchronize();
    this.#collect(requests);
  }

  #collect(requests: readonly Request[]): void {
    for (const { into, parts } of requests) parts.splice(0).forEach(({ from, at }) => into.set(from, at));
    this.#down.used = 0;
  }

  async #drain(): Promise<void> {
    try {
      await Promise.resolve(); // for all reads of this turn of the event loop
      let count: number;
      do { // again for reads that were issued during the wait, after this event
        count = this.#waiting.length;
        this.#card.record(this.#down.event, this.#card.stream);
        await this.#done();
      } while (this.#waiting.length > count);
      const settled = this.#waiting;
      this.#waiting = [];
      this.#collect(settled);
      this.#draining = undefined; // before a caller can resume and read again
      settled.forEach(({ into, resolve }) => resolve(into));
    } catch (error) {
      const failed = this.#waiting;
      this.#waiting = [];
      this.#down.used = 0;
      this.#draining = undefined;
      failed.forEach(({ reject }) => reject(error));
    }
  }

  /** Waits for the event without blocking the event loop. */
  async #done(): Promise<void> {
    const { driver } = this.#card;
    for (let tries = 0;; tries++) {
      const status = driver.cuEventQuery(this.#down.event);
      this.#card.watch(); // also once it is done: aborted exchanges leave anything in memory
      if (status !== driverStatus.CUDA_ERROR_NOT_READY) {
        return this.#card.check(status, "waiting for a readback");
      }
      // First a few turns of the event loop, for short waits; then a timer.
      await new Promise<void>((resolve) => setTimeout(resolve, tries < 8 ? 0 : 1));
    }
  }

  /** Waits for the reads in flight. */
  async idle(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
  }

  /** Frees the pinned memory. */
  close(): void {
    this.#down.close();
  }
}
