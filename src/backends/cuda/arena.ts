import { LocalgradError } from "../../base/errors.ts";
import type { Card } from "./card.ts";

/** The memory that all plans share for intermediate values. It grows and never shrinks. */
export class Arena {
  readonly #card: Card;
  #address = 0n;
  #bytes = 0;

  constructor(card: Card) {
    this.#card = card;
  }

  /** The current address. It changes when the arena grows, which invalidates captured graphs. */
  get address(): bigint {
    return this.#address;
  }

  /**
   * Grows the arena to at least `bytes`. It frees the old memory after allocating the new, or before if both do not
   * fit together. In that case another program may take the memory in between and leave the arena empty, so every run
   * must reserve what its plan needs; a run that gets no memory fails with the name of its plan.
   */
  reserve(bytes: number, plan: string): void {
    if (bytes <= this.#bytes) return;
    const old = this.#bytes;
    if (this.#take(bytes) === undefined) return;
    this.#release();
    const refused = this.#take(bytes);
    if (refused === undefined) return;
    if (old > 0) this.#take(old); // if this fails too, the next run of a smaller plan reserves again
    throw new LocalgradError(
      `${plan}: no memory for its ${bytes} bytes of intermediate values: ${refused.message}`,
      {
        cause: refused,
      },
    );
  }

  /** Replaces the memory by a new allocation; returns the error if the card has no memory. */
  #take(bytes: number): LocalgradError | undefined {
    let address: bigint;
    try {
      address = this.#card.allocate(bytes);
    } catch (error) {
      if (error instanceof LocalgradError) return error;
      throw error;
    }
    this.#release();
    this.#address = address;
    this.#bytes = bytes;
    return undefined;
  }

  #release(): void {
    if (this.#bytes === 0) return;
    this.#card.free(this.#address);
    this.#address = 0n;
    this.#bytes = 0;
    this.#card.trim(); // the new allocation may need the same memory
  }
}
