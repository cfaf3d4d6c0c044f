/**
 * The constants of MPI's ABIs: the standard one of MPI 5, and Open MPI's, whose handles are addresses of exported
 * symbols. `tests/mpi/headers_test.ts` checks them against the headers.
 *
 * @module
 */

/** An ABI: the values that the functions of a library take for MPI's constants. */
export interface MpiAbi {
  /** `MPI_COMM_WORLD`: all processes. */
  readonly world: bigint;
  /** `MPI_ERRORS_RETURN`. */
  readonly errorsReturn: bigint;
  /** `MPI_INFO_NULL`. */
  readonly noInfo: bigint;
  /** The datatypes in use. */
  readonly datatypes: Readonly<Record<Datatype, bigint>>;
  /** The operations in use. */
  readonly ops: Readonly<Record<"sum" | "max" | "min", bigint>>;
  /** `MPI_THREAD_SERIALIZED`: any thread may call MPI, one at a time. */
  readonly serialized: number;
  /** `MPI_COMM_TYPE_SHARED`: processes that share memory. */
  readonly sharedMemory: number;
}

/** The datatypes in use. MPI has none for bf16. */
export type Datatype = "f32" | "i32" | "u32" | "u8" | "byte";

/** The value of `MPI_IN_PLACE` in both ABIs. */
export const MPI_IN_PLACE = 1n;

/** Bytes that hold an `MPI_Status` of both ABIs. */
export const STATUS_BYTES = 64;

/** Bytes that hold any text of both: `MPI_MAX_LIBRARY_VERSION_STRING` is the longest. */
export const TEXT_BYTES = 8192;

/** The largest tag that every implementation takes (MPI 5.0, 9.1.2). */
export const MAX_TAG = 32767;

/** Classes of errors; the first are numbered alike in both ABIs. */
export const mpiErrors = {
  MPI_ERR_BUFFER: 1,
  MPI_ERR_COUNT: 2,
  MPI_ERR_TYPE: 3,
  MPI_ERR_TAG: 4,
  MPI_ERR_COMM: 5,
  MPI_ERR_RANK: 6,
  MPI_ERR_REQUEST: 7,
  MPI_ERR_ROOT: 8,
  MPI_ERR_GROUP: 9,
  MPI_ERR_OP: 10,
  MPI_ERR_TOPOLOGY: 11,
  MPI_ERR_DIMS: 12,
  MPI_ERR_ARG: 13,
  MPI_ERR_UNKNOWN: 14,
  MPI_ERR_TRUNCATE: 15,
  MPI_ERR_OTHER: 16,
  MPI_ERR_INTERN: 17,
} as const;

/** The handles of the standard ABI, by their names in `mpi_abi.h`. */
export const standardHandles = {
  MPI_SUM: 0x21,
  MPI_MIN: 0x22,
  MPI_MAX: 0x23,
  MPI_COMM_WORLD: 0x101,
  MPI_INFO_NULL: 0x130,
  MPI_ERRORS_RETURN: 0x143,
  MPI_FLOAT: 0x210,
  MPI_UINT8_T: 0x241,
  MPI_BYTE: 0x247,
  MPI_INT32_T: 0x250,
  MPI_UINT32_T: 0x251,
} as const;

/** The numbers of the standard ABI. */
export const standardNumbers = { MPI_THREAD_SERIALIZED: 2048, MPI_COMM_TYPE_SHARED: 221 } as const;

/** The numbers of Open MPI's ABI. */
export const openMpiNumbers = { MPI_THREAD_SERIALIZED: 2, MPI_COMM_TYPE_SHARED: 0 } as const;

/** The standard ABI of MPI 5. */
export const standardAbi: MpiAbi = {
  world: BigInt(standardHandles.MPI_COMM_WORLD),
  errorsReturn: BigInt(standardHandles.MPI_ERRORS_RETURN),
  noInfo: BigInt(standardHandles.MPI_INFO_NULL),
  datatypes: {
    f32: BigInt(standardHandles.MPI_FLOAT),
    i32: BigInt(standardHandles.MPI_INT32_T),
    u32: BigInt(standardHandles.MPI_UINT32_T),
    u8: BigInt(standardHandles.MPI_UINT8_T),
    byte: BigInt(standardHandles.MPI_BYTE),
  },
  ops: {
    sum: BigInt(standardHandles.MPI_SUM),
    max: BigInt(standardHandles.MPI_MAX),
    min: BigInt(standardHandles.MPI_MIN),
  },
  serialized: standardNumbers.MPI_THREAD_SERIALIZED,
  sharedMemory: standardNumbers.MPI_COMM_TYPE_SHARED,
};

/** The symbols of libmpi whose addresses are Open MPI's handles. Deno gives the address of a symbol of type `pointer`. */
export const openMpiHandles = {
  ompi_mpi_comm_world: { type: "pointer" },
  ompi_mpi_errors_return: { type: "pointer" },
  ompi_mpi_info_null: { type: "pointer" },
  ompi_mpi_float: { type: "pointer" },
  ompi_mpi_int32_t: { type: "pointer" },
  ompi_mpi_uint32_t: { type: "pointer" },
  ompi_mpi_uint8_t: { type: "pointer" },
  ompi_mpi_byte: { type: "pointer" },
  ompi_mpi_op_sum: { type: "pointer" },
  ompi_mpi_op_max: { type: "pointer" },
  ompi_mpi_op_min: { type: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The ABI of an opened Open MPI. */
export function openMpiAbi(handles: Deno.DynamicLibrary<typeof openMpiHandles>["symbols"]): MpiAbi {
  const { value } = Deno.UnsafePointer;
  return {
    world: value(handles.ompi_mpi_comm_world),
    errorsReturn: value(handles.ompi_mpi_errors_return),
    noInfo: value(handles.ompi_mpi_info_null),
    datatypes: {
      f32: value(handles.ompi_mpi_float),
      i32: value(handles.ompi_mpi_int32_t),
      u32: value(handles.ompi_mpi_uint32_t),
      u8: value(handles.ompi_mpi_uint8_t),
      byte: value(handles.ompi_mpi_byte),
    },
    ops: {
      sum: value(handles.ompi_mpi_op_sum),
      max: value(handles.ompi_mpi_op_max),
      min: value(handles.ompi_mpi_op_min),
    },
    serialized: openMpiNumbers.MPI_THREAD_SERIALIZED,
    sharedMemory: openMpiNumbers.MPI_COMM_TYPE_SHARED,
  };
}
