import { driverFlag, driverStatus } from "../../../ffi/driver.ts";
import { bytesAt } from "../../../ffi/memory.ts";
import type { Card } from "./card.ts";

/** Bytes of each half of the pinned memory that uploads and readbacks go through. */
const HALF = 8 * 2 ** 20;

/** Pinned host memory, which the card copies from and to by itself, and an event that tells when it is done. */
class Half {
  readonly address: bigint;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly event: bigint;
  used = 0;

  constructor(readonly card: Card) {
    const out = new BigUint64Array(1);
    card.check(card.driver.cuMemHostAlloc(out, BigInt(HALF), 0), `pinning ${HALF} bytes of host memory`);
    this.address = out[0];
    this.bytes = bytesAt(this.address, HALF);
    card.check(card.driver.cuEventCreate(out, driverFlag.CU_EVENT_DISABLE_TIMING), "creating an event");
    this.event = out[0];
  }

  close(): void {
    this.card.driver.cuEventDestroy_v2(this.event);
    this.card.driver.cuMemFreeHost(this.address);
  }
}

/** Two halves taken in turns: one is filled while the card is still busy with the other. */
class Halves {
  readonly #card: Card;
  readonly #halves: [Half, Half];
  #turn = 0;

  constructor(card: Card) {
    this.#card = card;
    const first = new Half(card);
    try {
      this.#halves = [first, new Half(card)];
    } catch (error) {
      first.close();
      throw error;
    }
  }

  /** A stretch of at most `bytes`; it may wait for the card to be done with what was there. */
  take(bytes: number): { readonly address: bigint; readonly bytes: Uint8Array<ArrayBuffer> } {
    let half = this.#halves[this.#turn];
    if (half.used >= HALF) half = this.turn();
    const length = Math.min(bytes, HALF - half.used);
    const start = half.used;
    half.used = Math.min(HALF, start + ((length + 15) & ~15));
    return { address: half.address + BigInt(start), bytes: half.bytes.subarray(start, start + length) };
  }

  /** Leaves this half to the card and goes on with the other. */
  turn(): Half {
    const { driver, stream } = this.#card;
    this.#card.check(driver.cuEventRecord(this.#halves[this.#turn].event, stream), "recording an event");
    this.#turn = 1 - this.#turn;
    const half = this.#halves[this.#turn];
    if (half.used > 0) this.#card.check(driver.cuEventSynchronize(half.event), "waiting for a copy");
    half.used = 0;
    return half;
  }

  close(): void {
    this.#halves.forEach((half) => half.close());
  }
}

interface Request {
  readonly into: Uint8Array<ArrayBuffer>;
  readonly parts: { readonly from: Uint8Array<ArrayBuffer>; readonly at: number }[];
  readonly resolve: (bytes: Uint8Array<ArrayBuffer>) => void;
  readonly reject: (error: unknown) => void;
}

/** Copies between host and card, in the stream's order. */
export class Staging {
  readonly #card: Card;
  readonly #up: Halves;
  readonly #down: Half;
  #waiting: Request[] = [];
  #draining: Promise<void> | undefined;

  constructor(card: Card) {
    this.#card = card;
    this.#up = new Halves(card);
    try {
      this.#down = new Half(card);
    } catch (error) {
      this.#up.close();
      throw error;
    }
  }

  /** Copies bytes to the card; the source may be changed at once. */
  write(address: bigint, data: Uint8Array): void {
    const { driver, stream } = this.#card;
    for (let at = 0; at < data.length;) {
      const { address: from, bytes } = this.#up.take(data.length - at);
      bytes.set(data.subarray(at, at + bytes.length));
      const status = driver.cuMemcpyHtoDAsync_v2(address + BigInt(at), from, BigInt(bytes.length), stream);
      this.#card.check(status, `uploading ${data.length} bytes`);
      at += bytes.length;
    }
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
        this.#draining ??= this.#drain().finally(() => this.#draining = undefined);
      } catch (error) {
        reject(error);
      }
    });
  }

  #issue(request: Request, address: bigint, at: number): number {
    const down = this.#down;
    if (down.used >= HALF) this.#empty([...this.#waiting, request]);
    const length = Math.min(request.into.length - at, HALF - down.used);
    const status = this.#card.driver.cuMemcpyDtoHAsync_v2(
      down.address + BigInt(down.used),
      address + BigInt(at),
      BigInt(length),
      this.#card.stream,
    );
    this.#card.check(status, `reading ${request.into.length} bytes back`);
    request.parts.push({ from: down.bytes.subarray(down.used, down.used + length), at });
    down.used = Math.min(HALF, down.used + ((length + 15) & ~15));
    return length;
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
    const { driver, stream } = this.#card;
    let settled: Request[] = [];
    try {
      await Promise.resolve(); // all reads of this turn of the event loop
      do {
        // What is asked for while waiting has its copies behind this event: it goes round once more.
        const count = this.#waiting.length;
        this.#card.check(driver.cuEventRecord(this.#down.event, stream), "recording an event");
        await this.#done();
        if (this.#waiting.length > count) continue;
        settled = this.#waiting;
        this.#waiting = [];
        this.#collect(settled);
      } while (this.#waiting.length > 0);
      settled.forEach(({ into, resolve }) => resolve(into));
    } catch (error) {
      const failed = [...settled, ...this.#waiting];
      this.#waiting = [];
      this.#down.used = 0;
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
      await new Promise<void>((go) => tries < 8 ? setTimeout(go, 0) : setTimeout(go, 1));
    }
  }

  /** Waits for the reads under way. */
  async idle(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
  }

  /** Frees the pinned memory. */
  close(): void {
    this.#up.close();
    this.#down.close();
  }
}
