import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { expectRecompute, type Recompute } from "./recomputation.ts";

Deno.test("what is no form of recomputation is refused", () => {
  for (
    const valid of [true, false, { limit: 1e9 }, { limit: Infinity, speeds: { operations: 1, bytes: 1 } }]
  ) {
    assertEquals(expectRecompute("test", valid), undefined);
  }
  const refused = (value: unknown, message: string) =>
    assertThrows(() => expectRecompute("test", value as Recompute), LocalgradError, message);
  refused("2GiB", "test: recompute must be true, false or a limit such as { limit: 2 * 2 ** 30 }, not");
  refused(null, "must be true, false or a limit");
  refused({}, "limit must be a number");
  refused({ limit: NaN }, "the limit of recompute must be a number of bytes above 0");
  refused({ limit: 0 }, "must be a number of bytes above 0, not 0");
  refused({ limit: 1, most: 2 }, "most");
  refused({ limit: 1, speeds: { operations: 0, bytes: 1 } }, "operations a second");
});
