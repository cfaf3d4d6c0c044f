import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { timeLimitFrom } from "./team.ts";

Deno.test("--time-limit takes seconds, minutes and hours, and nothing else", () => {
  assertEquals(["90", "0.5", "10m", "1.5h"].map(timeLimitFrom), [90, 0.5, 600, 5400]);
  for (const wrong of ["0", "0m", "-1", "1d", "m", "", "1e3", "nan", "1 m"]) {
    assertThrows(() => timeLimitFrom(wrong), LocalgradError, "--time-limit must be a number of seconds");
  }
});
