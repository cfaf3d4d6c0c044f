import { outI32 } from "../../../ffi/memory.ts";
import { STATUS_BYTES } from "../../../ffi/mpi_abi.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Pending } from "../communicator.ts";
import { checkMpi, type Library } from "./library.ts";
import { type Patience, untilDone, waitUntil } from "./waiting.ts";

/** A part of a transfer: at most the largest count of one call. */
export interface Part {
  /** The handle of the request, which MPI resets when it is done. */
  readonly request: BigUint64Array<ArrayBuffer>;
  /** The bytes that a receive must bring; undefined for other transfers. */
  readonly bytes?: number;
}

/** Transfers that MPI works on. They are held until they are done, because MPI writes to their memory. */
export type UnderWay = Set<MpiTransfer>;

/** A transfer of MPI. */
export class MpiTransfer implements Pending {
  readonly #library: Library;
  readonly #patience: Patience;
  readonly #underWay: UnderWay;
  readonly #parts: Part[];
  readonly #describe: () => string;
  readonly #finish: (() => void) | undefined;
  /** The memory of the transfer. */
  readonly memory: Uint8Array | undefined;

  /** A transfer whose parts were started. `finish` runs once all are done. */
  constructor(
    library: Library,
    patience: Patience,
    underWay: UnderWay,
    { parts, memory, describe, finish }: {
      readonly parts: readonly Part[];
      readonly memory?: Uint8Array;
      readonly describe: () => string;
      readonly finish?: (() => void) | undefined;
    },
  ) {
    this.#library = library;
    this.#patience = patience;
    this.#underWay = underWay;
    this.#parts = [...parts];
    this.#describe = describe;
    this.#finish = finish;
    this.memory = memory;
    underWay.add(this);
  }

  /** Tests whether the transfer is done, and lets MPI make progress. */
  done(): boolean {
    if (!this.#underWay.has(this)) return true;
    const flag = outI32();
    for (let part = this.#parts[0]; part !== undefined; part = this.#parts[0]) {
      const status = part.bytes === undefined ? null : new Uint8Array(STATUS_BYTES);
      const { functions, abi } = this.#library;
      try {
        checkMpi(this.#library, functions.MPI_Test(part.request, flag.buffer, status), this.#describe());
      } catch (error) {
        this.#underWay.delete(this);
        throw error;
      }
      if (flag.value === 0) return false;
      this.#parts.shift();
      if (status === null) continue;
      const count = outI32();
      functions.MPI_Get_count(status, abi.datatypes.byte, count.buffer);
      if (count.value !== part.bytes) {
        this.#underWay.delete(this);
        throw new LocalgradError(
          `${this.#describe()} in ${this.#library.who} got a message of ${count.value} bytes, not ${part.bytes}`,
        );
      }
    }
    this.#underWay.delete(this);
    this.#finish?.();
    return true;
  }

  /** The transfer in words, for messages. */
  get description(): string {
    return this.#describe();
  }

  /** Waits until the transfer is done. */
  wait(): void {
    waitUntil(() => this.done(), this.#patience, () => this.#awaited());
  }

  /** Waits likewise, and lets the event loop turn meanwhile. */
  settled(): Promise<void> {
    return untilDone(() => this.done(), this.#patience, () => this.#awaited());
  }

  #awaited(): string {
    return `${this.#describe()} in ${this.#library.who}`;
  }
}
