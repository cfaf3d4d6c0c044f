import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { LocalgradError } from "./errors.ts";
import { refusal, systemReason } from "./system.ts";

/** An error as Deno throws it for a code without a class. */
function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

Deno.test("systemReason() recognises the system's errors, with or without a class in Deno", () => {
  const cases: [unknown, string | undefined][] = [
    [coded("ENOSPC", "No space left on device (os error 28)"), "the disk is full; free some space"],
    [coded("EDQUOT", "Disk quota exceeded"), "the disk quota is used up; free some space"],
    [coded("EROFS", "Read-only file system"), "the file system is read-only; choose another place"],
    [coded("EIO", "Input/output error"), "the disk reports an error"],
    [coded("ENAMETOOLONG", "File name too long"), "the name is too long"],
    [coded("EXDEV", "Invalid cross-device link"), "Invalid cross-device link"],
    [new Deno.errors.TimedOut("timed out"), "timed out"],
    [coded("ERR_INVALID_ARG_TYPE", "of Node's"), undefined],
    [new Deno.errors.NotCapable("Requires read access"), undefined],
    [new TypeError("null has no step"), undefined],
    [new LocalgradError("batch must be at least 1"), undefined],
    ["text", undefined],
  ];
  for (const [error, reason] of cases) assertEquals(systemReason(error), reason, String(error));
});

Deno.test("refusal() says what failed and why, and returns other errors as they are", async () => {
  const full = refusal(coded("ENOSPC", "No space left on device"), "a/report.html cannot be written");
  assertInstanceOf(full, LocalgradError);
  assertEquals(
    (full as LocalgradError).message,
    "a/report.html cannot be written: the disk is full; free some space",
  );
  const defect = new TypeError("defect");
  assertEquals(refusal(defect, "x"), defect);
  const missing = await Deno.readFile("no/such/file").catch((error) => refusal(error, "it cannot be read"));
  assertStringIncludes((missing as Error).message, "it cannot be read: it does not exist");
});
