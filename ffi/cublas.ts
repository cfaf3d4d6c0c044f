/**
 * cuBLASLt: matrix products. Handles, descriptors and device addresses are `u64`; `tests/cuda/headers_test.ts` checks
 * every line against `cublasLt.h`.
 *
 * @module
 */
import { textAt } from "./memory.ts";
import { LibraryError } from "./status.ts";

/** The functions of libcublasLt that the CUDA backend uses. */
export const cublasLtSymbols = {
  cublasLtCreate: { parameters: [/* lightHandle */ "buffer"], result: "i32" },
  cublasLtDestroy: { parameters: [/* lightHandle */ "u64"], result: "i32" },
  cublasLtGetStatusName: { parameters: [/* status */ "i32"], result: "u64" },
  cublasLtGetStatusString: { parameters: [/* status */ "i32"], result: "u64" },
  cublasLtGetVersion: { parameters: [], result: "usize" },
  cublasLtGetCudartVersion: { parameters: [], result: "usize" },
  cublasLtMatmulDescCreate: {
    parameters: [/* matmulDesc */ "buffer", /* computeType */ "i32", /* scaleType */ "i32"],
    result: "i32",
  },
  cublasLtMatmulDescDestroy: { parameters: [/* matmulDesc */ "u64"], result: "i32" },
  cublasLtMatmulDescSetAttribute: {
    parameters: [/* matmulDesc */ "u64", /* attr */ "i32", /* buf */ "buffer", /* sizeInBytes */ "usize"],
    result: "i32",
  },
  cublasLtMatrixLayoutCreate: {
    parameters: [
      /* matLayout */ "buffer",
      /* type */ "i32",
      /* rows */ "u64",
      /* cols */ "u64",
      /* ld */ "i64",
    ],
    result: "i32",
  },
  cublasLtMatrixLayoutDestroy: { parameters: [/* matLayout */ "u64"], result: "i32" },
  cublasLtMatrixLayoutSetAttribute: {
    parameters: [/* matLayout */ "u64", /* attr */ "i32", /* buf */ "buffer", /* sizeInBytes */ "usize"],
    result: "i32",
  },
  cublasLtMatmulPreferenceCreate: { parameters: [/* pref */ "buffer"], result: "i32" },
  cublasLtMatmulPreferenceDestroy: { parameters: [/* pref */ "u64"], result: "i32" },
  cublasLtMatmulPreferenceSetAttribute: {
    parameters: [/* pref */ "u64", /* attr */ "i32", /* buf */ "buffer", /* sizeInBytes */ "usize"],
    result: "i32",
  },
  cublasLtMatmulAlgoGetHeuristic: {
    parameters: [
      /* lightHandle */ "u64",
      /* operationDesc */ "u64",
      /* Adesc */ "u64",
      /* Bdesc */ "u64",
      /* Cdesc */ "u64",
      /* Ddesc */ "u64",
      /* preference */ "u64",
      /* requestedAlgoCount */ "i32",
      /* heuristicResultsArray */ "buffer",
      /* returnAlgoCount */ "buffer",
    ],
    result: "i32",
  },
  cublasLtMatmul: {
    parameters: [
      /* lightHandle */ "u64",
      /* computeDesc */ "u64",
      /* alpha */ "buffer",
      /* A */ "u64",
      /* Adesc */ "u64",
      /* B */ "u64",
      /* Bdesc */ "u64",
      /* beta */ "buffer",
      /* C */ "u64",
      /* Cdesc */ "u64",
      /* D */ "u64",
      /* Ddesc */ "u64",
      /* algo */ "buffer",
      /* workspace */ "u64",
      /* workspaceSizeInBytes */ "usize",
      /* stream */ "u64",
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** cuBLASLt's functions. */
export type CublasLt = Deno.DynamicLibrary<typeof cublasLtSymbols>["symbols"];

/** The `cublasStatus_t` values that the code distinguishes. */
export const cublasStatus = {
  CUBLAS_STATUS_SUCCESS: 0,
  CUBLAS_STATUS_ALLOC_FAILED: 3,
  CUBLAS_STATUS_ARCH_MISMATCH: 8,
  CUBLAS_STATUS_EXECUTION_FAILED: 13,
  CUBLAS_STATUS_INTERNAL_ERROR: 14,
  CUBLAS_STATUS_NOT_SUPPORTED: 15,
} as const;

const refusals: ReadonlySet<number> = new Set([
  cublasStatus.CUBLAS_STATUS_ALLOC_FAILED,
  cublasStatus.CUBLAS_STATUS_ARCH_MISMATCH,
  cublasStatus.CUBLAS_STATUS_EXECUTION_FAILED,
  cublasStatus.CUBLAS_STATUS_INTERNAL_ERROR,
  cublasStatus.CUBLAS_STATUS_NOT_SUPPORTED,
]);

/**
 * Tests whether an error tells that cuBLASLt cannot do what it was asked to, for any reason but a wrong description. Then
 * another algorithm may do.
 */
export function isCublasRefusal(error: unknown): error is LibraryError {
  return error instanceof LibraryError && error.library === "cuBLASLt" && refusals.has(error.status);
}

/** `cublasComputeType_t` and `cudaDataType` values in use. */
export const cublasType = {
  CUBLAS_COMPUTE_32F: 68,
  CUBLAS_COMPUTE_32F_FAST_TF32: 77,
  CUDA_R_32F: 0,
  CUDA_R_16BF: 14,
} as const;

/** `cublasLtMatmulDescAttributes_t` values in use. */
export const matmulAttribute = {
  CUBLASLT_MATMUL_DESC_TRANSA: 3,
  CUBLASLT_MATMUL_DESC_TRANSB: 4,
  CUBLASLT_MATMUL_DESC_EPILOGUE: 7,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER: 8,
} as const;

/** `cublasLtEpilogue_t` values: operations on a product's result as it is written. */
export const epilogue = {
  CUBLASLT_EPILOGUE_DEFAULT: 1,
  CUBLASLT_EPILOGUE_RELU: 2,
  CUBLASLT_EPILOGUE_BIAS: 4,
  CUBLASLT_EPILOGUE_RELU_BIAS: 6,
} as const;

/** `cublasLtMatrixLayoutAttribute_t` values in use. */
export const layoutAttribute = {
  CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: 5,
  CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: 6,
} as const;

/** `cublasLtMatmulPreferenceAttributes_t` values in use. */
export const preferenceAttribute = { CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: 1 } as const;

/** Size and offsets, in bytes, of `cublasLtMatmulHeuristicResult_t`, which begins with the algorithm. */
export const heuristicResult = { bytes: 96, algorithmBytes: 64, workspace: 64, status: 72 } as const;

/** Throws a LibraryError with cuBLASLt's name and message for a status other than success. */
export function checkCublas(cublas: CublasLt, status: number, doing: string): void {
  if (status === cublasStatus.CUBLAS_STATUS_SUCCESS) return;
  const name = textAt(cublas.cublasLtGetStatusName(status)) ?? "an unknown status";
  const text = textAt(cublas.cublasLtGetStatusString(status)) ?? "";
  throw new LibraryError("cuBLASLt", status, name, doing, text === name ? "" : text);
}
