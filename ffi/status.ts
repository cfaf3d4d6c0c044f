import { LocalgradError } from "../src/base/errors.ts";

/** A C library's refusal: its own name and message for the status, and what was being done. */
export class LibraryError extends LocalgradError {
  constructor(
    /** The library: `CUDA`, `NVRTC`, `cuBLASLt` or `cuDNN`. */
    readonly library: string,
    /** The number the function returned. */
    readonly status: number,
    /** The library's name for it, such as `CUDA_ERROR_OUT_OF_MEMORY`. */
    readonly statusName: string,
    /** What was being done, such as `allocating 4096 bytes`. */
    readonly doing: string,
    /** The library's own explanation. */
    readonly explanation: string,
  ) {
    const why = explanation === "" ? "" : `: ${explanation}`;
    super(`${library}: ${doing} failed with ${statusName} (${status})${why}`);
  }
}
