/**
 * NCCL: moves data between cards. Handles are `u64`; `tests/cuda/nccl_test.ts` checks every line against `nccl.h`.
 *
 * @module
 */
import { outI32, outU64, textAt } from "./memory.ts";
import { LibraryError } from "./status.ts";

/** The functions of libnccl that belong to communicators and collectives. */
export const ncclSymbols = {
  ncclGetVersion: { parameters: [/* version */ "buffer"], result: "i32" },
  ncclGetUniqueId: { parameters: [/* uniqueId */ "buffer"], result: "i32" },
  // Unlike ncclCommInitRank, it takes the id by pointer: FFI passes no structure of 128 bytes by value.
  ncclCommInitRankScalable: {
    parameters: [
      /* newcomm */ "buffer",
      /* nranks */ "i32",
      /* myrank */ "i32",
      /* nId */ "i32",
      /* commIds */ "buffer",
      /* config */ "u64",
    ],
    // It waits for the other processes. Not another thread's: the card is the one that is current on the calling thread.
    result: "i32",
  },
  ncclCommSplit: {
    parameters: [
      /* comm */ "u64",
      /* color */ "i32",
      /* key */ "i32",
      /* newcomm */ "buffer",
      /* config */ "u64",
    ],
    result: "i32",
  },
  ncclAllReduce: {
    parameters: [
      /* sendbuff */ "u64",
      /* recvbuff */ "u64",
      /* count */ "usize",
      /* datatype */ "i32",
      /* op */ "i32",
      /* comm */ "u64",
      /* stream */ "u64",
    ],
    result: "i32",
  },
  ncclBroadcast: {
    parameters: [
      /* sendbuff */ "u64",
      /* recvbuff */ "u64",
      /* count */ "usize",
      /* datatype */ "i32",
      /* root */ "i32",
      /* comm */ "u64",
      /* stream */ "u64",
    ],
    result: "i32",
  },
  ncclSend: {
    parameters: [
      /* sendbuff */ "u64",
      /* count */ "usize",
      /* datatype */ "i32",
      /* peer */ "i32",
      /* comm */ "u64",
      /* stream */ "u64",
    ],
    result: "i32",
  },
  ncclRecv: {
    parameters: [
      /* recvbuff */ "u64",
      /* count */ "usize",
      /* datatype */ "i32",
      /* peer */ "i32",
      /* comm */ "u64",
      /* stream */ "u64",
    ],
    result: "i32",
  },
  ncclGroupStart: { parameters: [], result: "i32" },
  ncclGroupEnd: { parameters: [], result: "i32" },
  ncclGetErrorString: { parameters: [/* result */ "i32"], result: "u64" },
  ncclGetLastError: { parameters: [/* comm */ "u64"], result: "u64" },
  ncclCommGetAsyncError: { parameters: [/* comm */ "u64", /* asyncError */ "buffer"], result: "i32" },
  ncclCommFinalize: { parameters: [/* comm */ "u64"], result: "i32" },
  ncclCommDestroy: { parameters: [/* comm */ "u64"], result: "i32" },
  ncclCommAbort: { parameters: [/* comm */ "u64"], result: "i32" },
  ncclCommCount: { parameters: [/* comm */ "u64", /* count */ "buffer"], result: "i32" },
  ncclCommUserRank: { parameters: [/* comm */ "u64", /* rank */ "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** NCCL's functions. */
export type Nccl = Deno.DynamicLibrary<typeof ncclSymbols>["symbols"];

/** `ncclResult_t`. */
export const ncclStatus = {
  ncclSuccess: 0,
  ncclUnhandledCudaError: 1,
  ncclSystemError: 2,
  ncclInternalError: 3,
  ncclInvalidArgument: 4,
  ncclInvalidUsage: 5,
  ncclRemoteError: 6,
  ncclInProgress: 7,
  ncclTimeout: 8,
} as const;

/** `ncclDataType_t`, for the dtypes of tensors. */
export const ncclType = { ncclInt32: 2, ncclUint32: 3, ncclFloat32: 7, ncclBfloat16: 9 } as const;

/** `ncclRedOp_t`. */
export const ncclOp = { ncclSum: 0, ncclProd: 1, ncclMax: 2, ncclMin: 3, ncclAvg: 4 } as const;

/** Bytes of a unique id. */
export const NCCL_UNIQUE_ID_BYTES = 128;

/** What to do about a status. */
const remedies: Readonly<Record<number, string>> = {
  [ncclStatus.ncclUnhandledCudaError]:
    "check `nvidia-smi`: each process needs a card of its own and a driver for NCCL's version of CUDA",
  [ncclStatus.ncclSystemError]:
    "check the network between the machines, and the size of /dev/shm in containers",
  [ncclStatus.ncclRemoteError]: "another process or its network failed: read its output",
  [ncclStatus.ncclTimeout]: "another process did not answer: read its output",
};

/** The error of a status: NCCL's words for it and for its last fault, and the remedy, in one line. */
export function ncclError(nccl: Nccl, status: number, doing: string): LibraryError {
  const name = Object.entries(ncclStatus).find(([, value]) => value === status)?.[0] ?? "an unknown status";
  const last = textAt(nccl.ncclGetLastError(0n));
  const parts = [
    textAt(nccl.ncclGetErrorString(status)),
    last,
    remedies[status] ?? "set NCCL_DEBUG=WARN for more",
  ];
  const told = parts.map((part) => part?.replace(/\s+/g, " ").trim() ?? "").filter((part) => part !== "");
  return new LibraryError("NCCL", status, name, doing, told.join("; "));
}

/** Throws a LibraryError unless a status is that of success. */
export function checkNccl(nccl: Nccl, status: number, doing: string): void {
  if (status !== ncclStatus.ncclSuccess) throw ncclError(nccl, status, doing);
}

/** NCCL's version as one number: 23203 is 2.32.3. */
export function ncclVersion(nccl: Nccl): number {
  const version = outI32();
  checkNccl(nccl, nccl.ncclGetVersion(version.buffer), "asking for its version");
  return version.value;
}

/** Makes the id of a new communicator, which one process makes and sends to the others. Needs no card. */
export function ncclUniqueId(nccl: Nccl): Uint8Array<ArrayBuffer> {
  const id = new Uint8Array(NCCL_UNIQUE_ID_BYTES);
  checkNccl(nccl, nccl.ncclGetUniqueId(id), "making an id");
  return id;
}

/**
 * Joins a communicator of `size` processes as number `rank`, on the card whose context is current on this thread
 * ("Each rank is associated to a CUDA device, which has to be set before calling ncclCommInitRank", nccl.h); waits for all
 * of them.
 */
export function joinNccl(nccl: Nccl, id: Uint8Array<ArrayBuffer>, size: number, rank: number): bigint {
  const communicator = outU64();
  const status = nccl.ncclCommInitRankScalable(communicator.buffer, size, rank, 1, id, 0n);
  checkNccl(nccl, status, `joining process ${rank} of ${size}`);
  return communicator.value;
}
