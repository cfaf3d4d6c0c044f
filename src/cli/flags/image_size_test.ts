import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { extentsOf, imageSizeFrom } from "./image_size.ts";

Deno.test("--image-size is a number, or rows and columns", () => {
  assertEquals(["224", "512x1024", "512X1024", "64x64"].map(imageSizeFrom), [
    224,
    "512x1024",
    "512x1024",
    64,
  ]);
  assertEquals([extentsOf(224), extentsOf("512x1024")], [224, [512, 1024]]);
  for (const text of ["", "0", "0x5", "5x0", "5x", "x5", "5x5x5", "1.5", "-3", "big", "9".repeat(20)]) {
    assertThrows(
      () => imageSizeFrom(text),
      LocalgradError,
      `--image-size must be a whole number of at least 1, or HxW, such as 512x1024, not "${text}"`,
    );
  }
});
