import { addressOf } from "../../../ffi/memory.ts";
import { MAX_COUNT } from "../../../ffi/mpi.ts";
import { MAX_TAG, MPI_IN_PLACE } from "../../../ffi/mpi_abi.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectWhole } from "../../base/expect.ts";
import { type DType, hostArrays } from "../../trace/dtype.ts";
import type { Communicator, Pending } from "../communicator.ts";
import { encode } from "./encoding.ts";
import { checkMpi, type Library } from "./library.ts";
import { MpiTransfer, type Part, type UnderWay } from "./transfer.ts";
import type { Patience } from "./waiting.ts";

/** A group of MPI's processes, which exchange host memory, shared memory of WebAssembly included. */
export interface Group {
  /** MPI's handle. */
  readonly handle: bigint;
  /** The group's name, for messages. */
  readonly name: string;
  /** The number of this process in the group. */
  readonly rank: number;
  /** The number of processes. */
  readonly size: number;
}

/** A group as a {@link Communicator}. */
export class MpiCommunicator implements Communicator {
  /** The number of this process in the group. */
  readonly rank: number;
  /** The number of processes. */
  readonly size: number;
  readonly #library: Library;
  readonly #group: Group;
  readonly #patience: Patience;
  readonly #underWay: UnderWay;
  readonly #maxCount: number;
  #collectives = 0;

  /** The communicator of a group. Tests split transfers below the largest count that MPI takes. */
  constructor(
    library: Library,
    group: Group,
    patience: Patience,
    underWay: UnderWay,
    maxCount: number = MAX_COUNT,
  ) {
    this.rank = group.rank;
    this.size = group.size;
    this.#library = library;
    this.#group = group;
    this.#patience = patience;
    this.#underWay = underWay;
    this.#maxCount = maxCount;
  }

  /** MPI's handle. */
  get handle(): bigint {
    return this.#group.handle;
  }

  /** True once this process has given up on the others. */
  get abandoned(): boolean {
    return this.#patience.abandoned === true;
  }

  /**
   * Replaces `data` on every process by the elements' sum, maximum or minimum over all processes. All get the same bits
   * from MPICH and Open MPI. bf16 is summed in f32 and rounded once; a NaN of any process is the maximum and the minimum.
   *
   * @throws {LocalgradError} if `data` holds no whole number of elements, or MPI reports an error.
   */
  allReduce(data: Uint8Array, dtype: DType, fn: "sum" | "max" | "min"): Pending {
    const width = hostArrays[dtype].BYTES_PER_ELEMENT;
    if (data.length % width !== 0) {
      throw new LocalgradError(`allReduce: ${data.length} bytes are no whole number of ${dtype} elements`);
    }
    const { functions, abi } = this.#library;
    const { bytes, datatype, count, decode } = encode(data, dtype, fn);
    const type = abi.datatypes[datatype], op = abi.ops[fn];
    return this.#start(
      bytes,
      count,
      this.#nextCollective(`allReduce (${fn}) of ${data.length} bytes of ${dtype}`),
      (address, count, request) =>
        functions.MPI_Iallreduce(MPI_IN_PLACE, address, count, type, op, this.handle, request),
      { finish: decode },
    );
  }

  /**
   * Replaces `data` on every process by that of the process `root`.
   *
   * @throws {LocalgradError} if there is no process `root`, or MPI reports an error.
   */
  broadcast(data: Uint8Array, root: number): Pending {
    expectWhole("broadcast: root", root, 0, this.size - 1);
    const { functions, abi: { datatypes: { byte } } } = this.#library;
    return this.#start(
      data,
      data.length,
      this.#nextCollective(`broadcast of ${data.length} bytes from process ${root}`),
      (address, count, request) => functions.MPI_Ibcast(address, count, byte, root, this.handle, request),
    );
  }

  /**
   * Sends `data` to the process `to`; it must not change until the transfer is done.
   *
   * @throws {LocalgradError} if there is no process `to` or the tag is not from 0 to 32767, or MPI reports an error.
   */
  send(data: Uint8Array, to: number, tag: number): Pending {
    expectWhole("send: to", to, 0, this.size - 1);
    expectWhole("send: tag", tag, 0, MAX_TAG);
    const { functions, abi: { datatypes: { byte } } } = this.#library;
    return this.#start(
      data,
      data.length,
      () => `send of ${data.length} bytes to process ${to} with tag ${tag}${this.#within()}`,
      (address, count, request) => functions.MPI_Isend(address, count, byte, to, tag, this.handle, request),
    );
  }

  /**
   * Receives into `data` a message of the same length from the process `from`.
   *
   * @throws {LocalgradError} if there is no process `from` or the tag is not from 0 to 32767; while waiting, if the
   * message has another length or MPI reports an error.
   */
  receive(data: Uint8Array, from: number, tag: number): Pending {
    expectWhole("receive: from", from, 0, this.size - 1);
    expectWhole("receive: tag", tag, 0, MAX_TAG);
    const { functions, abi: { datatypes: { byte } } } = this.#library;
    return this.#start(
      data,
      data.length,
      () => `receive of ${data.length} bytes from process ${from} with tag ${tag}${this.#within()}`,
      (address, count, request) => functions.MPI_Irecv(address, count, byte, from, tag, this.handle, request),
      { receives: true },
    );
  }

  /** Waits until every process of the group has called this. */
  barrier(): void {
    const describe = this.#nextCollective("barrier");
    this.#refuseAbandoned(describe);
    const request = new BigUint64Array(1);
    checkMpi(this.#library, this.#library.functions.MPI_Ibarrier(this.handle, request), describe());
    new MpiTransfer(this.#library, this.#patience, this.#underWay, { parts: [{ request }], describe }).wait();
  }

  /** Starts a transfer, in parts that MPI's count can hold. */
  #start(
    memory: Uint8Array,
    count: number,
    describe: () => string,
    call: (address: bigint, count: number, request: BigUint64Array<ArrayBuffer>) => number,
    { finish, receives = false }: { finish?: (() => void) | undefined; receives?: boolean } = {},
  ): Pending {
    this.#refuseAbandoned(describe);
    const address = addressOf(memory as Uint8Array<ArrayBuffer>); // FFI takes shared memory too
    const width = memory.length / Math.max(count, 1);
    const parts: Part[] = [];
    for (let from = 0; from === 0 || from < count; from += this.#maxCount) {
      const part = Math.min(this.#maxCount, count - from), request = new BigUint64Array(1);
      checkMpi(this.#library, call(address + BigInt(from * width), part, request), describe());
      parts.push(receives ? { request, bytes: part } : { request });
    }
    return new MpiTransfer(this.#library, this.#patience, this.#underWay, {
      parts,
      memory,
      describe,
      finish,
    });
  }

  #refuseAbandoned(describe: () => string): void {
    if (!this.#patience.abandoned) return;
    throw new LocalgradError(
      `${describe()} in ${this.#library.who}: an error has ended the work of these processes; start them again`,
    );
  }

  /** A description of the next collective call: its number tells which call another process has not made. */
  #nextCollective(what: string): () => string {
    const number = ++this.#collectives;
    return () => `${what}${this.#within()}, collective ${number} of this process,`;
  }

  #within(): string {
    return this.#group.name === "world" ? "" : ` in group ${this.#group.name}`;
  }
}
