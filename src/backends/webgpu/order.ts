import { LocalgradError } from "../../base/errors.ts";

/**
 * The order of a device's work where some of it waits for other processes: a run that exchanges data goes on while the
 * caller issues more. What is issued meanwhile is done afterwards, so that all work keeps its order.
 */
export class WorkOrder {
  #last: Promise<void> | undefined;
  #failure: unknown;

  /** True while work waits. */
  get busy(): boolean {
    return this.#last !== undefined;
  }

  /** Throws the first failure of work that waited, if there was one: it is known late. */
  check(): void {
    if (this.#failure === undefined) return;
    const { message } = this.#failure instanceof Error ? this.#failure : { message: String(this.#failure) };
    throw new LocalgradError(message, { cause: this.#failure });
  }

  /** Does some work: at once, or after the work that waits. */
  do(work: () => void): void {
    if (this.#last === undefined) work();
    else this.#add(() => Promise.resolve(work()));
  }

  /** Begins work that waits, after the work that waits already. Once any has failed, none begins. */
  wait(work: () => Promise<void>): void {
    this.#add(async () => {
      if (this.#failure === undefined) await work();
    });
  }

  #add(work: () => Promise<void>): void {
    const begun = this.#last === undefined ? work() : this.#last.then(work);
    const last = begun.catch((error) => {
      this.#failure ??= error;
    }).finally(() => {
      if (this.#last === last) this.#last = undefined;
    });
    this.#last = last;
  }

  /** Waits until all work issued so far is done; a failure is not thrown. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
