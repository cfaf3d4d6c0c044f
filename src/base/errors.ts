/**
 * A mistake that the caller can correct. Its message says what was wrong, where, and what to do; the command line prints
 * that alone. Any other error is a defect of the library and keeps its stack.
 *
 * @example
 * ```ts
 * import { LocalgradError } from "@localgrad/localgrad";
 * import { assertThrows } from "@std/assert";
 *
 * assertThrows(() => {
 *   throw new LocalgradError("batch must be at least 1, got 0");
 * }, LocalgradError, "batch");
 * ```
 */
export class LocalgradError extends Error {
  /** Always `"LocalgradError"`, which identifies it across copies of the module. */
  override readonly name = "LocalgradError";
  /** The kind of error, if a program may want to handle it and continue. */
  readonly code: ErrorCode | undefined;

  /** Creates an error with a message, and optionally its cause and code. */
  constructor(message?: string, options: ErrorOptions & { readonly code?: ErrorCode | undefined } = {}) {
    super(message, options);
    this.code = options.code;
  }
}

/**
 * Kinds of error that a program which tries out settings can expect: training `diverged`, that is, a loss or value
 * became NaN or infinite; or a request was `tooLarge` for the memory or limits of the device.
 */
export type ErrorCode = "diverged" | "tooLarge";
