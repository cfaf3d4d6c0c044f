import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { shareOf, weightOf } from "./shares.ts";

Deno.test("shareOf() divides every image once, evenly, and no share has fewer than two", () => {
  for (const images of [1, 2, 3, 4, 5, 7, 128, 129]) {
    for (const processes of [1, 2, 3, 4, 8]) {
      const shares = Array.from({ length: processes }, (_, i) => shareOf(images, processes, i));
      assertAlmostEquals(shares.reduce((sum, share) => sum + weightOf(share), 0), 1, 1e-12);
      if (images < 2 * processes || processes === 1) {
        const whole = { from: 0, to: images, images, copies: processes };
        assertEquals(shares, shares.map(() => whole), "too small to be divided");
        continue;
      }
      const sizes = shares.map(({ from, to }) => to - from);
      assert(Math.min(...sizes) >= 2 && Math.max(...sizes) - Math.min(...sizes) <= 1);
      assertEquals(shares.map(({ to }) => to), [...shares.slice(1).map(({ from }) => from), images]);
      shares.forEach((share, i) => assertAlmostEquals(weightOf(share), sizes[i] / images, 1e-12));
    }
  }
});
