import { assertEquals } from "@std/assert";
import { at } from "../../base/at.ts";
import { fastestCut, leanestCut } from "./cuts.ts";
import type { ModuleCost } from "./estimates.ts";

/** Every cut of a row of blocks into modules, by the ends of those. */
function everyCut(blocks: number, modules: number, start = 0): number[][] {
  if (modules === 1) return [[blocks]];
  return Array.from({ length: blocks - start - modules + 1 }, (_, i) => start + 1 + i)
    .flatMap((end) => everyCut(blocks, modules - 1, end).map((rest) => [end, ...rest]));
}

Deno.test("the fastest cut within a limit and the leanest one are those among all cuts", () => {
  const blocks = 8;
  let seed = 1;
  const random = () => (seed = seed * 48271 % 2147483647) / 2147483647;
  for (let round = 0; round < 20; round++) {
    const sizes = Array.from({ length: blocks }, () => Math.ceil(9 * random()));
    const times = Array.from({ length: blocks + 1 }, () => Math.ceil(99 * random()));
    const cost = (start: number, end: number): ModuleCost => ({
      bytes: sizes.slice(start, end).reduce((a, b) => a + b, 0) + at(sizes, end - 1),
      seconds: at(times, end),
    });
    const measured = (ends: readonly number[]) => {
      const each = ends.map((end, i) => cost(ends[i - 1] ?? 0, end));
      return {
        ends,
        bytes: Math.max(...each.map(({ bytes }) => bytes)),
        seconds: each.reduce((sum, { seconds }) => sum + seconds, 0),
      };
    };
    for (let modules = 1; modules <= blocks; modules++) {
      const all = everyCut(blocks, modules).map(measured);
      const costs = { blocks, modules, cost };
      assertEquals(leanestCut(costs).bytes, Math.min(...all.map(({ bytes }) => bytes)));
      const limit = 10 + Math.ceil(20 * random());
      const fitting = all.filter(({ bytes }) => bytes <= limit);
      const found = fastestCut(costs, limit);
      assertEquals(
        found?.seconds,
        fitting.length === 0 ? undefined : Math.min(...fitting.map(({ seconds }) => seconds)),
      );
      if (found !== undefined) assertEquals(found, measured(found.ends));
    }
  }
});
