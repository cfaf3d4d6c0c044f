import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "./errors.ts";
import { bytesOfSize } from "./size.ts";

Deno.test("a size is a number of bytes, or a number with a unit", () => {
  const sizes = [[4096, 4096], ["4096", 4096], ["2GiB", 2 ** 31], ["1.5 GiB", 1.5 * 2 ** 30], [
    "80GB",
    80e9,
  ]] as const;
  for (const [size, bytes] of sizes) assertEquals(bytesOfSize("the size", size), bytes);
  for (const wrong of ["", "GiB", "2 gigabytes", "-1GiB", 0, -5, NaN, Infinity, "1.2.3GiB"]) {
    assertThrows(
      () => bytesOfSize("the size", wrong),
      LocalgradError,
      "the size must be a size such as 512MiB",
    );
  }
});
