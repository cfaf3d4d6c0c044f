/**
 * MPI: processes that a launcher starts, and what they exchange. Handles and addresses are `u64`;
 * `tests/mpi/headers_test.ts` checks every line against the headers of MPICH and Open MPI.
 *
 * @module
 */

/** The functions that tell a library's identity; they may be called before MPI is initialised. */
export const mpiIdentitySymbols = {
  MPI_Get_library_version: { parameters: [/* version */ "buffer", /* resultlen */ "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The function that tells the version of the standard ABI; implementations with an ABI of their own lack it. */
export const mpiAbiSymbols = {
  MPI_Abi_get_version: { parameters: [/* abi_major */ "buffer", /* abi_minor */ "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * The functions of MPI in use. Counts are C's `int`, as in every implementation; those of 64 bits (`MPI_Isend_c`, from
 * MPI 4) are missing from Open MPI 5, so larger transfers go in parts.
 */
export const mpiSymbols = {
  MPI_Abort: { parameters: [/* comm */ "u64", /* errorcode */ "i32"], result: "i32" },
  MPI_Comm_rank: { parameters: [/* comm */ "u64", /* rank */ "buffer"], result: "i32" },
  MPI_Comm_set_errhandler: { parameters: [/* comm */ "u64", /* errhandler */ "u64"], result: "i32" },
  MPI_Comm_size: { parameters: [/* comm */ "u64", /* size */ "buffer"], result: "i32" },
  MPI_Comm_split: {
    parameters: [/* comm */ "u64", /* color */ "i32", /* key */ "i32", /* newcomm */ "buffer"],
    result: "i32",
  },
  MPI_Comm_split_type: {
    parameters: [
      /* comm */ "u64",
      /* split_type */ "i32",
      /* key */ "i32",
      /* info */ "u64",
      /* newcomm */ "buffer",
    ],
    result: "i32",
  },
  MPI_Error_class: { parameters: [/* errorcode */ "i32", /* errorclass */ "buffer"], result: "i32" },
  MPI_Error_string: {
    parameters: [/* errorcode */ "i32", /* string */ "buffer", /* resultlen */ "buffer"],
    result: "i32",
  },
  MPI_Finalize: { parameters: [], result: "i32" },
  MPI_Finalized: { parameters: [/* flag */ "buffer"], result: "i32" },
  MPI_Get_count: {
    parameters: [/* status */ "buffer", /* datatype */ "u64", /* count */ "buffer"],
    result: "i32",
  },
  MPI_Get_processor_name: { parameters: [/* name */ "buffer", /* resultlen */ "buffer"], result: "i32" },
  MPI_Iallreduce: {
    parameters: [
      /* sendbuf */ "u64",
      /* recvbuf */ "u64",
      /* count */ "i32",
      /* datatype */ "u64",
      /* op */ "u64",
      /* comm */ "u64",
      /* request */ "buffer",
    ],
    result: "i32",
  },
  MPI_Ibarrier: { parameters: [/* comm */ "u64", /* request */ "buffer"], result: "i32" },
  MPI_Ibcast: {
    parameters: [
      /* buffer */ "u64",
      /* count */ "i32",
      /* datatype */ "u64",
      /* root */ "i32",
      /* comm */ "u64",
      /* request */ "buffer",
    ],
    result: "i32",
  },
  MPI_Init_thread: {
    parameters: [/* argc */ "u64", /* argv */ "u64", /* required */ "i32", /* provided */ "buffer"],
    result: "i32",
  },
  MPI_Initialized: { parameters: [/* flag */ "buffer"], result: "i32" },
  MPI_Irecv: {
    parameters: [
      /* buf */ "u64",
      /* count */ "i32",
      /* datatype */ "u64",
      /* source */ "i32",
      /* tag */ "i32",
      /* comm */ "u64",
      /* request */ "buffer",
    ],
    result: "i32",
  },
  MPI_Isend: {
    parameters: [
      /* buf */ "u64",
      /* count */ "i32",
      /* datatype */ "u64",
      /* dest */ "i32",
      /* tag */ "i32",
      /* comm */ "u64",
      /* request */ "buffer",
    ],
    result: "i32",
  },
  MPI_Test: {
    parameters: [/* request */ "buffer", /* flag */ "buffer", /* status */ "buffer"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** MPI's functions. */
export type MpiFunctions = Deno.DynamicLibrary<typeof mpiSymbols>["symbols"];

/** The largest count of one transfer. */
export const MAX_COUNT = 2 ** 31 - 1;
