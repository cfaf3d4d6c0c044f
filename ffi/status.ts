import { LocalgradError } from "../src/base/errors.ts";

/** An error status of a C library, with the library's name and message for it. */
export class LibraryError extends LocalgradError {
  /** Makes an error whose message names the library, the operation and the status. */
  constructor(
    /** The library: `CUDA`, `NVRTC`, `cuBLASLt`, `cuDNN`, `NCCL` or `oneDNN`. */
    readonly library: string,
    /** The status that the function returned. */
    readonly status: number,
    /** The library's name for the status, such as `CUDA_ERROR_OUT_OF_MEMORY`. */
    readonly statusName: string,
    /** The operation that failed, such as `allocating 4096 bytes`. */
    readonly doing: string,
    /** The library's explanation; may be empty. */
    readonly explanation: string,
  ) {
    const why = explanation === "" ? "" : `: ${explanation}`;
    super(`${library}: ${doing} failed with ${statusName} (${status})${why}`);
  }
}
