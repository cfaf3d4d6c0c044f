import { bytesAt, outU64 } from "../../../ffi/memory.ts";
import type { Card } from "./card.ts";

/** Pinned host memory, which the card reads and writes asynchronously, with an event to wait for. */
export class Pinned {
  /** Its address. */
  readonly address: bigint;
  /** The same memory, as an array. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Recorded after the last copy. */
  readonly event: bigint;
  /** Bytes in use. */
  used = 0;
  readonly #card: Card;

  constructor(card: Card, bytes: number) {
    this.#card = card;
    const out = outU64();
    card.check(
      card.driver.cuMemHostAlloc(out.buffer, BigInt(bytes), 0),
      `pinning ${bytes} bytes of host memory`,
    );
    this.address = out.value;
    this.bytes = bytesAt(this.address, bytes);
    try {
      this.event = card.createEvent();
    } catch (error) {
      card.driver.cuMemFreeHost(this.address);
      throw error;
    }
  }

  /** Takes at most `length` of the unused bytes. */
  take(length: number): { readonly address: bigint; readonly bytes: Uint8Array<ArrayBuffer> } {
    const start = this.used, taken = Math.min(length, this.bytes.length - start);
    this.used = Math.min(this.bytes.length, start + ((taken + 15) & ~15));
    return { address: this.address + BigInt(start), bytes: this.bytes.subarray(start, start + taken) };
  }

  /** Frees it. */
  close(): void {
    this.#card.driver.cuEventDestroy_v2(this.event);
    this.#card.driver.cuMemFreeHost(this.address);
  }
}

/** Double-buffered pinned memory for the uploads of one stream: one half is filled while the card reads the other. */
export class PinnedHalves {
  readonly #card: Card;
  readonly #stream: bigint;
  readonly #halves: readonly [Pinned, Pinned];
  /** The index of the half that is being filled. */
  #turn: 0 | 1 = 0;

  /** `bytes` is the size of each half. */
  constructor(card: Card, stream: bigint, bytes: number) {
    this.#card = card;
    this.#stream = stream;
    const first = new Pinned(card, bytes);
    try {
      this.#halves = [first, new Pinned(card, bytes)];
    } catch (error) {
      first.close();
      throw error;
    }
  }

  /** Copies bytes to an address on the card, in stream order; the source may be changed once this returns. */
  upload(address: bigint, data: Uint8Array): void {
    const { driver } = this.#card;
    for (let at = 0; at < data.length;) {
      let half = this.#halves[this.#turn];
      if (half.used >= half.bytes.length) half = this.#next();
      const { address: from, bytes } = half.take(data.length - at);
      bytes.set(data.subarray(at, at + bytes.length));
      const to = address + BigInt(at);
      const status = driver.cuMemcpyHtoDAsync_v2(to, from, BigInt(bytes.length), this.#stream);
      this.#card.check(status, `uploading ${data.length} bytes`);
      at += bytes.length;
    }
  }

  /** Switches to the other half; waits for the copies from it that are in flight. */
  #next(): Pinned {
    this.#card.record(this.#halves[this.#turn].event, this.#stream);
    this.#turn = this.#turn === 0 ? 1 : 0;
    const half = this.#halves[this.#turn];
    if (half.used > 0) {
      this.#card.check(this.#card.driver.cuEventSynchronize(half.event), "waiting for a copy");
    }
    half.used = 0;
    return half;
  }

  /** Frees them. */
  close(): void {
    this.#halves.forEach((half) => half.close());
  }
}
