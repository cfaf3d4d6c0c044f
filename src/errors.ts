/**
 * A mistake in what the caller asked for: a wrong shape, option, file or flag. The message says what was wrong,
 * where, and what to do; the command line prints it alone, without a stack trace.
 */
export class LocalgradError extends Error {
  override readonly name: string = "LocalgradError";
}
