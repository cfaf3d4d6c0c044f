import { LinearMemory } from "../src/backends/cpu/memory.ts";
import { LocalgradError } from "../src/base/errors.ts";

/** A memory of the CPU backend that refuses when it is told to, and knows what it holds. */
export class ScarceMemory extends LinearMemory {
  /** Allocations asked for. */
  asked = 0;
  /** The number of the allocation to refuse, counted as {@link asked} is. */
  refused = Infinity;
  /** Whether all that follow are refused too, as where memory has run out. */
  forGood = false;
  readonly #held = new Map<number, string>();

  /** What its blocks were taken for. */
  get held(): string[] {
    return [...this.#held.values()];
  }

  override allocate(bytes: number, what: string): number {
    const number = ++this.asked;
    if (number === this.refused || (this.forGood && number > this.refused)) {
      throw new LocalgradError(`there is no memory for ${what}`);
    }
    const address = super.allocate(bytes, what);
    this.#held.set(address, what);
    return address;
  }

  override free(address: number, bytes: number): void {
    this.#held.delete(address);
    super.free(address, bytes);
  }
}
