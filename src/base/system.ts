import { LocalgradError } from "./errors.ts";

/** Meanings of the system's error codes for those who read or write files (POSIX.1-2017, <errno.h>). */
const REASONS: { readonly [code: string]: string } = {
  EACCES: "the system does not permit it",
  EBUSY: "it is in use",
  EDQUOT: "the disk quota is used up; free some space",
  EEXIST: "something else of that name exists",
  EFBIG: "the file is too large for the file system",
  EIO: "the disk reports an error",
  EISDIR: "it is a folder",
  ELOOP: "its links are circular",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
  ENFILE: "too many files are open",
  ENODEV: "the device does not exist",
  ENOENT: "it does not exist",
  ENOSPC: "the disk is full; free some space",
  ENOTDIR: "its path leads through a file",
  ENOTEMPTY: "a non-empty folder of that name exists",
  EPERM: "the system does not permit it",
  EROFS: "the file system is read-only; choose another place",
  ESTALE: "the network file system has lost it",
};

/**
 * Explains why the system refused an operation; undefined for an error of another kind, which includes a permission
 * that Deno lacks. For some codes, such as that of a full disk, Deno has no class and throws a plain `Error` with the code.
 */
export function systemReason(error: unknown): string | undefined {
  if (!(error instanceof Error) || error instanceof Deno.errors.NotCapable) return undefined;
  const { message } = error;
  const code = "code" in error ? error.code : undefined;
  if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) return REASONS[code] ?? message;
  return Object.values(Deno.errors).some((kind) => error instanceof kind) ? message : undefined;
}

/**
 * The error to throw after a failed file operation: if the system refused, a {@link LocalgradError} of `what`, such as
 * "runs/a/report.html cannot be written", and the reason; otherwise the error itself.
 */
export function refusal(error: unknown, what: string): unknown {
  const reason = systemReason(error);
  return reason === undefined ? error : new LocalgradError(`${what}: ${reason}`, { cause: error });
}
