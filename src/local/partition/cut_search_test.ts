import { assert, assertEquals } from "@std/assert";
import { allCuts } from "../../../tests/all_cuts.ts";
import { generatorOf } from "../../../tests/random_program.ts";
import { bestCut, type CutCosts } from "./cut_search.ts";

/** Costs like a network's: the bytes of blocks add up, and those of an auxiliary network depend on the stage. */
function costsOf(blocks: number, modules: number, random: () => number): CutCosts {
  const held = Array.from({ length: blocks }, () => 1 + Math.floor(100 * random()));
  const stage = (end: number) => Math.floor(3 * end / blocks);
  const hung = [200, 100, 50, 0].map((most) => Math.floor(most * random()));
  return {
    blocks,
    modules,
    peak: (_, start, end) =>
      held.slice(start, end).reduce((sum, bytes) => sum + bytes, end === blocks ? 0 : hung[stage(end)]),
    weight: () => 1,
    kind: (_, end) => `${stage(end)}`,
  };
}

Deno.test("bestCut() minimises the highest peak over all cuts", () => {
  const random = generatorOf(11);
  for (let round = 0; round < 200; round++) {
    const blocks = 3 + Math.floor(random() * 9);
    const modules = 1 + Math.floor(random() * Math.min(4, blocks - 1));
    const costs = costsOf(blocks, modules, random);
    const highest = (ends: readonly number[]) =>
      Math.max(...ends.map((end, i) => costs.peak(i, i === 0 ? 0 : ends[i - 1], end)));
    const best = Math.min(...allCuts(blocks, modules).map(highest));
    const found = bestCut(costs);
    assertEquals(found.length, modules);
    assert(
      found.every((end, i) => end > (found[i - 1] ?? 0)),
      `round ${round}: ${found} has an empty module`,
    );
    assertEquals(highest(found), best, `round ${round}: ${found}`);
  }
});

Deno.test("bestCut() ends with a cut no worse than the even one, whatever the peaks", () => {
  const random = generatorOf(12);
  for (let round = 0; round < 500; round++) {
    const blocks = 3 + Math.floor(random() * 9);
    const modules = 2 + Math.floor(random() * Math.min(4, blocks - 2));
    const seed = Math.floor(1000 * random());
    const costs: CutCosts = {
      ...costsOf(blocks, modules, random),
      peak: (index, start, end) =>
        1 + ((seed + 7919 * Math.min(index, 1) + 104729 * start + 1299709 * end) % 97),
    };
    const highest = (ends: readonly number[]) =>
      Math.max(...ends.map((end, i) => costs.peak(i, ends[i - 1] ?? 0, end)));
    const even = Array.from({ length: modules }, (_, i) => Math.floor((i + 1) * blocks / modules));
    const found = bestCut(costs);
    assert(found.every((end, i) => end > (found[i - 1] ?? 0)) && found.at(-1) === blocks, `${found}`);
    assert(
      highest(found) <= highest(even),
      `round ${round}: ${found}, ${highest(found)} of ${highest(even)}`,
    );
  }
});

Deno.test("bestCut() moves a boundary to where its auxiliary network is smaller", () => {
  const found = bestCut({
    blocks: 6,
    modules: 2,
    peak: () => 10,
    weight: (_, end) => Math.abs(end - 4),
    kind: () => "",
  });
  assertEquals(found, [4, 6]);
});

Deno.test("bestCut() evaluates a small part of all runs of blocks", () => {
  const costs = costsOf(100, 4, () => 0.5);
  let asked = 0;
  bestCut({ ...costs, peak: (...stretch) => (asked++, costs.peak(...stretch)) });
  assert(asked < 200, `${asked} of 5050`);
});
