import { LocalgradError } from "./errors.ts";

/** What the system's error codes mean to whoever reads or writes files (POSIX.1-2017, <errno.h>). */
const REASONS: { readonly [code: string]: string } = {
  EACCES: "the system does not permit it",
  EBUSY: "it is in use",
  EDQUOT: "the disk quota is used up; free some space",
  EEXIST: "something of that name is in the way",
  EFBIG: "the file system takes no file as large",
  EIO: "the disk reports an error",
  EISDIR: "it is a folder",
  ELOOP: "its links lead in a circle",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
  ENFILE: "too many files are open",
  ENODEV: "the device is not there",
  ENOENT: "it does not exist",
  ENOSPC: "the disk is full; free some space",
  ENOTDIR: "its path leads through a file",
  ENOTEMPTY: "a folder of that name is in the way",
  EPERM: "the system does not permit it",
  EROFS: "the file system is read-only; choose another place",
  ESTALE: "the network file system has lost it",
};

/**
 * Why the system refused something, in words; undefined for an error of another kind. A permission that Deno lacks is
 * another kind. Deno has no class for some codes, of a full disk for one, and throws a plain `Error` with the code.
 */
export function systemReason(error: unknown): string | undefined {
  if (!(error instanceof Error) || error instanceof Deno.errors.NotCapable) return undefined;
  const { code, message } = error as Error & { readonly code?: unknown };
  if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) return REASONS[code] ?? message;
  return Object.values(Deno.errors).some((kind) => error instanceof kind) ? message : undefined;
}

/**
 * The error to throw where work with files failed: of what the system refused, one that begins with `what`, such as
 * "runs/a/report.html cannot be written", and gives its reason; any other error itself.
 */
export function refusal(error: unknown, what: string): unknown {
  const reason = systemReason(error);
  return reason === undefined ? error : new LocalgradError(`${what}: ${reason}`, { cause: error });
}
