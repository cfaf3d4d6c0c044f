import { LocalgradError } from "../../base/errors.ts";
import type { Card } from "./card.ts";

/** The memory all plans share for what does not outlive a run. It grows and never shrinks. */
export class Arena {
  readonly #card: Card;
  #address = 0n;
  #bytes = 0;

  constructor(card: Card) {
    this.#card = card;
  }

  /** Its address now: it moves when it grows, which captured runs notice by it. */
  get address(): bigint {
    return this.#address;
  }

  /**
   * Makes it as large as a plan needs. The old one goes only when the new one is there, or where both do not fit: then
   * the card may be left with neither, if somebody else takes the memory. So every run asks for what its plan needs,
   * and is refused by name rather than given memory that is another's.
   */
  reserve(bytes: number, plan: string): void {
    if (bytes <= this.#bytes) return;
    const old = this.#bytes;
    if (this.#take(bytes) === undefined) return;
    this.#release();
    const refused = this.#take(bytes);
    if (refused === undefined) return;
    if (old > 0) this.#take(old); // where even that is refused, the plans that need it ask anew
    throw new LocalgradError(
      `${plan}: no room for its ${bytes} bytes of intermediate values: ${refused.message}`,
      {
        cause: refused,
      },
    );
  }

  /** Takes memory in place of what there is, or gives the reason why there is none. */
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
    this.#card.trim(); // its place may be what the new one needs
  }
}
