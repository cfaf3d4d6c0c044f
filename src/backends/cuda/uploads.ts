import { driverFlag } from "../../../ffi/driver.ts";
import { outU64 } from "../../../ffi/memory.ts";
import type { CudaBuffer } from "./buffer.ts";
import type { Card } from "./card.ts";
import { PinnedHalves } from "./pinned.ts";

/**
 * The size in bytes from which uploads go to the upload stream. A smaller copy takes the card less time than the events
 * that would order it: 64 KiB take about 2 µs on PCIe 5. An estimate, not a measurement.
 */
const UPLOAD_STREAM_BYTES = 64 * 2 ** 10;
/** Bytes of pinned memory in each half, for large uploads and for small ones. */
const LARGE = 8 * 2 ** 20, SMALL = 2 ** 20;

/**
 * Copies from the host to the card. Small uploads go to the stream of all work, in order. Large ones go to a stream of
 * their own and overlap with the work in flight: the batch of the next step is copied while this step runs. Events keep
 * the order: work waits for the uploads issued before it ({@link join}), and an upload waits for the work before it that
 * uses the same memory. If that work is a captured run, which first copied the memory to a slot, the upload waits for
 * the copy only ({@link copied}); otherwise for everything issued so far.
 */
export class Uploads {
  readonly #card: Card;
  readonly #stream: bigint;
  readonly #events: { readonly uploaded: bigint; readonly copied: bigint; readonly issued: bigint };
  readonly #small: PinnedHalves;
  readonly #large: PinnedHalves;
  readonly #closing: (() => void)[] = [];
  /** True if there are uploads that no work waits for yet. */
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
      const out = outU64();
      card.check(
        driver.cuStreamCreate(out.buffer, driverFlag.CU_STREAM_NON_BLOCKING),
        "creating a stream for uploads",
      );
      this.#stream = out.value;
      this.#closing.push(() => driver.cuStreamDestroy_v2(this.#stream));
      this.#events = { uploaded: event(), copied: event(), issued: event() };
      this.#small = halves(card.stream, SMALL);
      this.#large = halves(this.#stream, LARGE);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Fills a buffer; the source may be changed once this returns. */
  write(buffer: CudaBuffer, data: Uint8Array): void {
    if (data.length < UPLOAD_STREAM_BYTES) {
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

  /** Makes all work issued from now on wait for the uploads issued so far. Must precede any such work. */
  join(): void {
    if (!this.#pending) return;
    this.#card.wait(this.#card.stream, this.#events.uploaded);
    this.#pending = false;
  }

  /** Records that copies of buffers to slots were just issued; the work after them uses the slots only. */
  copied(buffers: readonly CudaBuffer[]): void {
    if (buffers.length === 0) return;
    this.#card.record(this.#events.copied, this.#card.stream);
    for (const buffer of buffers) buffer.copied = true;
  }

  /** Frees everything; all work must be done. */
  close(): void {
    for (const close of this.#closing.splice(0).reverse()) close();
  }
}
