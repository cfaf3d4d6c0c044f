import { LinearMemory } from "../src/backends/cpu/memory.ts";
import { LocalgradError } from "../src/base/errors.ts";

/** A memory of the CPU backend that refuses chosen allocations and records the live ones. */
export class ScarceMemory extends LinearMemory {
  /** The number of allocations requested. */
  asked = 0;
  /** The number of the allocation to refuse, counted as {@link asked} is. */
  refused = Infinity;
  /** Refuses all later allocations too, as if memory had run out. */
  forGood = false;
  readonly #held = new Map<number, string>();

  /** The purpose of each live block. */
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
