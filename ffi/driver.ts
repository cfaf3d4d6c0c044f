/**
 * The CUDA driver, libcuda: contexts, memory, streams, events, modules, launches and graphs.
 *
 * Handles and device addresses are `u64` (BigInt); a `buffer` is host memory. `tests/cuda/headers_test.ts` checks every
 * line against `cuda.h`.
 *
 * @module
 */
import { outU64, textAt } from "./memory.ts";
import { LibraryError } from "./status.ts";

/** The functions of libcuda that the CUDA backend uses. */
export const driverSymbols = {
  cuInit: { parameters: [/* Flags */ "u32"], result: "i32" },
  cuDriverGetVersion: { parameters: [/* driverVersion */ "buffer"], result: "i32" },
  cuGetErrorName: { parameters: [/* error */ "i32", /* pStr */ "buffer"], result: "i32" },
  cuGetErrorString: { parameters: [/* error */ "i32", /* pStr */ "buffer"], result: "i32" },

  cuDeviceGetCount: { parameters: [/* count */ "buffer"], result: "i32" },
  cuDeviceGet: { parameters: [/* device */ "buffer", /* ordinal */ "i32"], result: "i32" },
  cuDeviceGetName: { parameters: [/* name */ "buffer", /* len */ "i32", /* dev */ "i32"], result: "i32" },
  cuDeviceGetAttribute: {
    parameters: [/* pi */ "buffer", /* attrib */ "i32", /* dev */ "i32"],
    result: "i32",
  },
  cuDeviceTotalMem_v2: { parameters: [/* bytes */ "buffer", /* dev */ "i32"], result: "i32" },
  cuDevicePrimaryCtxRetain: { parameters: [/* pctx */ "buffer", /* dev */ "i32"], result: "i32" },
  cuDevicePrimaryCtxRelease_v2: { parameters: [/* dev */ "i32"], result: "i32" },
  cuCtxSetCurrent: { parameters: [/* ctx */ "u64"], result: "i32" },

  cuMemGetInfo_v2: { parameters: [/* free */ "buffer", /* total */ "buffer"], result: "i32" },
  cuMemAlloc_v2: { parameters: [/* dptr */ "buffer", /* bytesize */ "usize"], result: "i32" },
  cuMemFree_v2: { parameters: [/* dptr */ "u64"], result: "i32" },
  cuMemHostAlloc: {
    parameters: [/* pp */ "buffer", /* bytesize */ "usize", /* Flags */ "u32"],
    result: "i32",
  },
  cuMemFreeHost: { parameters: [/* p */ "u64"], result: "i32" },
  cuMemcpyHtoDAsync_v2: {
    parameters: [/* dstDevice */ "u64", /* srcHost */ "u64", /* ByteCount */ "usize", /* hStream */ "u64"],
    result: "i32",
  },
  cuMemcpyDtoHAsync_v2: {
    parameters: [/* dstHost */ "u64", /* srcDevice */ "u64", /* ByteCount */ "usize", /* hStream */ "u64"],
    result: "i32",
  },
  cuMemcpyDtoDAsync_v2: {
    parameters: [/* dstDevice */ "u64", /* srcDevice */ "u64", /* ByteCount */ "usize", /* hStream */ "u64"],
    result: "i32",
  },
  cuMemsetD8Async: {
    parameters: [/* dstDevice */ "u64", /* uc */ "u8", /* N */ "usize", /* hStream */ "u64"],
    result: "i32",
  },

  cuStreamCreate: { parameters: [/* phStream */ "buffer", /* Flags */ "u32"], result: "i32" },
  cuStreamDestroy_v2: { parameters: [/* hStream */ "u64"], result: "i32" },
  cuStreamSynchronize: { parameters: [/* hStream */ "u64"], result: "i32" },
  cuStreamBeginCapture_v2: { parameters: [/* hStream */ "u64", /* mode */ "i32"], result: "i32" },
  cuStreamEndCapture: { parameters: [/* hStream */ "u64", /* phGraph */ "buffer"], result: "i32" },

  cuEventCreate: { parameters: [/* phEvent */ "buffer", /* Flags */ "u32"], result: "i32" },
  cuEventDestroy_v2: { parameters: [/* hEvent */ "u64"], result: "i32" },
  cuEventRecordWithFlags: {
    parameters: [/* hEvent */ "u64", /* hStream */ "u64", /* flags */ "u32"],
    result: "i32",
  },
  cuEventRecord: { parameters: [/* hEvent */ "u64", /* hStream */ "u64"], result: "i32" },
  cuEventQuery: { parameters: [/* hEvent */ "u64"], result: "i32" },
  cuEventSynchronize: { parameters: [/* hEvent */ "u64"], result: "i32" },
  cuStreamWaitEvent: {
    parameters: [/* hStream */ "u64", /* hEvent */ "u64", /* Flags */ "u32"],
    result: "i32",
  },
  // Used by the profiler only; drivers before CUDA 12.8 lack it.
  cuEventElapsedTime_v2: {
    parameters: [/* pMilliseconds */ "buffer", /* hStart */ "u64", /* hEnd */ "u64"],
    result: "i32",
    optional: true,
  },

  cuModuleLoadData: { parameters: [/* module */ "buffer", /* image */ "buffer"], result: "i32" },
  cuModuleUnload: { parameters: [/* hmod */ "u64"], result: "i32" },
  cuModuleGetFunction: {
    parameters: [/* hfunc */ "buffer", /* hmod */ "u64", /* name */ "buffer"],
    result: "i32",
  },
  cuFuncGetAttribute: {
    parameters: [/* pi */ "buffer", /* attrib */ "i32", /* hfunc */ "u64"],
    result: "i32",
  },
  cuLaunchKernel: {
    parameters: [
      /* f */ "u64",
      /* gridDimX */ "u32",
      /* gridDimY */ "u32",
      /* gridDimZ */ "u32",
      /* blockDimX */ "u32",
      /* blockDimY */ "u32",
      /* blockDimZ */ "u32",
      /* sharedMemBytes */ "u32",
      /* hStream */ "u64",
      /* kernelParams */ "u64",
      /* extra */ "u64",
    ],
    result: "i32",
  },

  cuGraphInstantiateWithFlags: {
    parameters: [/* phGraphExec */ "buffer", /* hGraph */ "u64", /* flags */ "u64"],
    result: "i32",
  },
  cuGraphGetNodes: {
    parameters: [/* hGraph */ "u64", /* nodes */ "u64", /* numNodes */ "buffer"],
    result: "i32",
  },
  cuGraphLaunch: { parameters: [/* hGraphExec */ "u64", /* hStream */ "u64"], result: "i32" },
  cuGraphExecDestroy: { parameters: [/* hGraphExec */ "u64"], result: "i32" },
  cuGraphDestroy: { parameters: [/* hGraph */ "u64"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** libcuda's functions. */
export type Driver = Deno.DynamicLibrary<typeof driverSymbols>["symbols"];

/** The `CUresult` values that the code distinguishes. */
export const driverStatus = {
  CUDA_SUCCESS: 0,
  CUDA_ERROR_OUT_OF_MEMORY: 2,
  CUDA_ERROR_NO_DEVICE: 100,
  CUDA_ERROR_NOT_READY: 600,
} as const;

/**
 * The `CUresult` values of work that failed on the card. Later calls report them, whatever they do, and the context is of
 * no use any more.
 */
export const faultStatus = {
  CUDA_ERROR_ILLEGAL_ADDRESS: 700,
  CUDA_ERROR_LAUNCH_TIMEOUT: 702,
  CUDA_ERROR_ASSERT: 710,
  CUDA_ERROR_HARDWARE_STACK_ERROR: 714,
  CUDA_ERROR_ILLEGAL_INSTRUCTION: 715,
  CUDA_ERROR_MISALIGNED_ADDRESS: 716,
  CUDA_ERROR_INVALID_ADDRESS_SPACE: 717,
  CUDA_ERROR_INVALID_PC: 718,
  CUDA_ERROR_LAUNCH_FAILED: 719,
} as const;

const faults: ReadonlySet<number> = new Set(Object.values(faultStatus));

/** Tests whether a status tells that work failed on the card. */
export function isFault(status: number): boolean {
  return faults.has(status);
}

/** `CUdevice_attribute` values in use. */
export const deviceAttribute = {
  CU_DEVICE_ATTRIBUTE_CLOCK_RATE: 13,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: 16,
  CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: 36,
  CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: 37,
  CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: 38,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: 76,
} as const;

/** `CUfunction_attribute` values in use. */
export const functionAttribute = {
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: 1,
  CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: 3,
  CU_FUNC_ATTRIBUTE_NUM_REGS: 4,
} as const;

/** The flags and modes in use. */
export const driverFlag = {
  CU_STREAM_NON_BLOCKING: 1,
  CU_EVENT_DEFAULT: 0,
  CU_EVENT_RECORD_EXTERNAL: 1,
  CU_EVENT_DISABLE_TIMING: 2,
  CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: 1,
} as const;

/** The tags of `cuLaunchKernel`'s `extra` list, which passes the arguments packed in one buffer. */
export const launchParameter = {
  CU_LAUNCH_PARAM_END_AS_INT: 0n,
  CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT: 1n,
  CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT: 2n,
} as const;

/** The oldest architecture that current CUDA libraries support: sm_75, Turing. */
export const OLDEST_ARCHITECTURE = 75;

/** Throws a LibraryError with the driver's name and message for a status other than success. */
export function checkDriver(driver: Driver, status: number, doing: string): void {
  if (status !== driverStatus.CUDA_SUCCESS) throw driverError(driver, status, doing);
}

/** The error for a status, with the driver's name and message for it; `hint` follows those. */
export function driverError(driver: Driver, status: number, doing: string, hint = ""): LibraryError {
  const textOf = (f: (error: number, text: BufferSource) => number) => {
    const text = outU64();
    f(status, text.buffer);
    return textAt(text.value) ?? "";
  };
  const name = textOf(driver.cuGetErrorName) || "an unknown status";
  const explanation = [textOf(driver.cuGetErrorString), hint].filter((text) => text !== "").join("; ");
  return new LibraryError("CUDA", status, name, doing, explanation);
}
