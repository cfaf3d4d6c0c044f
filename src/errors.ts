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
}
