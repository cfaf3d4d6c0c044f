import { driverStatus } from "../../../ffi/driver.ts";
import type { Card } from "./card.ts";
import { Pinned } from "./pinned.ts";

/** Bytes of pinned memory that readbacks go through. */
const PINNED = 8 * 2 ** 20;

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
   * Copies bytes from the card. The copies of all reads asked for are issued at once, behind the work before them, and
   * share one wait; what does not fit the pinned memory waits for what is in it.
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

  /** Waits here and now, and takes what has arrived out of the pinned memory. */
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
      await Promise.resolve(); // all reads of this turn of the event loop
      let count: number;
      do { // what is asked for while waiting has its copies behind this event: once more
        count = this.#waiting.length;
        this.#card.record(this.#down.event, this.#card.stream);
        await this.#done();
      } while (this.#waiting.length > count);
      const settled = this.#waiting;
      this.#waiting = [];
      this.#collect(settled);
      this.#draining = undefined; // before anybody who waited can ask for more
      settled.forEach(({ into, resolve }) => resolve(into));
    } catch (error) {
      const failed = this.#waiting;
      this.#waiting = [];
      this.#down.used = 0;
      this.#draining = undefined;
      failed.forEach(({ reject }) => reject(error));
    }
  }

  /** Waits for the event while the event loop goes on. */
  async #done(): Promise<void> {
    const { driver } = this.#card;
    for (let tries = 0;; tries++) {
      const status = driver.cuEventQuery(this.#down.event);
      if (status !== driverStatus.CUDA_ERROR_NOT_READY) {
        return this.#card.check(status, "waiting for a readback");
      }
      // A few turns of the event loop at once, for short waits; a timer after that.
      await new Promise<void>((go) => setTimeout(go, tries < 8 ? 0 : 1));
    }
  }

  /** Waits for the reads under way. */
  async idle(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
  }

  /** Frees the pinned memory. */
  close(): void {
    this.#down.close();
  }
}
