/**
 * A mistake the caller can mend: what was wrong, where, and what to do. The command line prints its message alone;
 * anything else that is thrown is a defect of the library and keeps its stack.
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
  /** Always `"LocalgradError"`, so that it can be told apart across module copies. */
  override readonly name = "LocalgradError";
  /** What kind of error it is, where a program may want to go on after it. */
  readonly code: ErrorCode | undefined;

  /** An error with its message, and its cause and code where it has them. */
  constructor(message?: string, options: ErrorOptions & { readonly code?: ErrorCode | undefined } = {}) {
    super(message, options);
    this.code = options.code;
  }
}

/**
 * Errors that a program can expect of settings it tries: training `diverged`, that is, a loss or a value became NaN or
 * infinite; or what was asked for is `tooLarge` for the device's memory or limits.
 */
export type ErrorCode = "diverged" | "tooLarge";
