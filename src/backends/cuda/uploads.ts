import { driverFlag } from "../../../ffi/driver.ts";
import type { CudaBuffer } from "./buffer.ts";
import type { Card } from "./card.ts";
import { PinnedHalves } from "./pinned.ts";

/**
 * Bytes from which an upload goes to a stream of its own. Below, the copy takes the card less than the events that would
 * order it: 64 KiB are 2 µs of a PCIe 5 link. By reckoning, not by measurement.
 */
const OWN_STREAM = 64 * 2 ** 10;
/** Pinned memory for each half of the large uploads, and of the small ones. */
const LARGE = 8 * 2 ** 20, SMALL = 2 ** 20;

/**
 * Copies from the host to the card. Small ones go to the stream of all work, in its order. Large ones go to a stream of
 * their own, beside the work that is under way: the batch of the next step is copied while this one runs. Two events
 * keep the order: work waits for the uploads issued before it ({@link join}), and an upload waits for the work before
 * it that uses the same memory. Where that work is a captured run, which took a copy of the memory first, the upload
 * waits for the copy only ({@link copied}); else for everything issued so far.
 */
export class Uploads {
  readonly #card: Card;
  readonly #stream: bigint;
  readonly #events: { readonly uploaded: bigint; readonly copied: bigint; readonly issued: bigint };
  readonly #small: PinnedHalves;
  readonly #large: PinnedHalves;
  readonly #closing: (() => void)[] = [];
  /** Whether there are uploads that the work was not told to wait for. */
  #pending = false;

  constructor(card: Card) {
    this.#card = card;
    const { driver } = card;
    const event = () => {
      const made = card.createEvent();
      this.#closing.push(() => driver.cuEventDestroy_v2(made));
      return made;
    };
    const halves = (stream: bigint, bytes: number) => {
      const made = new PinnedHalves(card, stream, bytes);
      this.#closing.push(() => made.close());
      return made;
    };
    try {
      const out = new BigUint64Array(1);
      card.check(
        driver.cuStreamCreate(out, driverFlag.CU_STREAM_NON_BLOCKING),
        "creating a stream for uploads",
      );
      this.#stream = out[0];
      this.#closing.push(() => driver.cuStreamDestroy_v2(this.#stream));
      this.#events = { uploaded: event(), copied: event(), issued: event() };
      this.#small = halves(card.stream, SMALL);
      this.#large = halves(this.#stream, LARGE);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Fills a buffer; the source may be changed at once. */
  write(buffer: CudaBuffer, data: Uint8Array): void {
    if (data.length < OWN_STREAM) {
      this.join();
      this.#small.upload(buffer.address, data);
      buffer.copied = false;
      return;
    }
    const { uploaded, copied, issued } = this.#events;
    if (!buffer.copied) this.#card.record(issued, this.#card.stream);
    this.#card.wait(this.#stream, buffer.copied ? copied : issued);
    this.#large.upload(buffer.address, data);
    this.#card.record(uploaded, this.#stream);
    buffer.uploads++;
    this.#pending = true;
  }

  /** Makes the work issued from now on wait for the uploads issued so far. Must come before any such work. */
  join(): void {
    if (!this.#pending) return;
    this.#card.wait(this.#card.stream, this.#events.uploaded);
    this.#pending = false;
  }

  /** Says that the work has just been given the copies of buffers to slots, and uses those from now on. */
  copied(buffers: readonly CudaBuffer[]): void {
    if (buffers.length === 0) return;
    this.#card.record(this.#events.copied, this.#card.stream);
    for (const buffer of buffers) buffer.copied = true;
  }

  /** Frees everything; the work must be done. */
  close(): void {
    for (const close of this.#closing.splice(0).reverse()) close();
  }
}
