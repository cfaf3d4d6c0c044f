import { assert, assertEquals } from "@std/assert";
import { generatorOf } from "../../tests/random_program.ts";
import { type Interval, packArena } from "./arena.ts";

function randomIntervals(count: number, steps: number, random: () => number): Interval[] {
  return Array.from({ length: count }, () => {
    const start = Math.floor(random() * steps);
    const bytes = 1 + Math.floor(2 ** (random() * 12));
    return { bytes, start, end: Math.min(steps - 1, start + Math.floor(random() ** 3 * steps / 2)) };
  });
}

Deno.test("packArena() overlaps nothing, crosses no segment, and respects the alignment", () => {
  const random = generatorOf(3);
  for (let round = 0; round < 100; round++) {
    const limits = { alignment: [1, 4, 256][round % 3], segmentBytes: [4096, 1 << 16, Infinity][round % 3] };
    const intervals = randomIntervals(80, 60, random);
    const { offsets, arenaBytes } = packArena(intervals, limits);
    intervals.forEach((a, i) => {
      assertEquals(offsets[i] % limits.alignment, 0);
      assert(offsets[i] + a.bytes <= arenaBytes);
      const [first, last] = [offsets[i], offsets[i] + a.bytes - 1].map((at) =>
        Math.floor(at / limits.segmentBytes)
      );
      assertEquals(first, last);
      intervals.slice(0, i).forEach((b, j) => {
        const together = a.start <= b.end && b.start <= a.end;
        const apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
        assert(!together || apart, `${i} and ${j} overlap`);
      });
    });
  }
});

Deno.test("packArena() needs hardly more than the live bytes, on forward and backward passes", () => {
  // Values saved by the forward pass and freed by the backward pass, with others that live for a step or two.
  for (const layers of [5, 30, 200]) {
    const intervals: Interval[] = [];
    for (let layer = 0; layer < layers; layer++) {
      const bytes = 4096 >> Math.floor(3 * layer / layers);
      intervals.push({ bytes, start: 2 * layer, end: 4 * layers - 2 * layer });
      intervals.push({ bytes: 64, start: 2 * layer, end: 4 * layers - 2 * layer });
      intervals.push({ bytes: 2 * bytes, start: 2 * layer, end: 2 * layer + 1 });
      intervals.push({ bytes, start: 4 * layers - 2 * layer - 1, end: 4 * layers - 2 * layer + 1 });
    }
    let most = 0;
    for (let t = 0; t <= 4 * layers + 1; t++) {
      const held = intervals.filter(({ start, end }) => start <= t && t <= end);
      most = Math.max(most, held.reduce((sum, { bytes }) => sum + bytes, 0));
    }
    const { arenaBytes } = packArena(intervals, { alignment: 1, segmentBytes: Infinity });
    assert(arenaBytes <= 1.01 * most, `${arenaBytes} for ${most}`);
  }
});

Deno.test("packArena() compares only intervals that overlap in time, once in each order", () => {
  for (const steps of [1000, 10000]) {
    const random = generatorOf(7);
    const intervals = Array.from({ length: steps }, (_, start) => {
      const end = Math.min(steps - 1, start + Math.floor(random() * 20));
      return { bytes: 1 + Math.floor(random() * 1000), start, end };
    });
    const pairs = intervals.reduce((sum, { start, end }) => sum + end - start, 0);
    const { compared } = packArena(intervals, { alignment: 1, segmentBytes: Infinity });
    assert(compared >= pairs && compared <= 4 * pairs, `${compared} comparisons for ${pairs} pairs`);
  }
});

Deno.test("packArena() tries no other order if its arena is no larger than the live bytes", () => {
  // Both are live in step 2 alone: 9 bytes. Other orders would compare the two again.
  const intervals = [{ bytes: 6, start: 0, end: 2 }, { bytes: 3, start: 2, end: 3 }];
  const { arenaBytes, compared } = packArena(intervals, { alignment: 1, segmentBytes: Infinity });
  assertEquals({ arenaBytes, compared }, { arenaBytes: 9, compared: 1 });
});

Deno.test("packArena() leaves what is free in one piece if asked, above what lives longest", () => {
  // In step 4 the first and the third are live; in order of their first steps, a gap is left between them.
  const intervals = [[0, 9], [1, 3], [2, 9], [3, 3]].map(([start, end]) => ({ bytes: 1, start, end }));
  const limits = { alignment: 1, segmentBytes: Infinity };
  assertEquals(packArena(intervals, limits).offsets, [0, 1, 2, 3]);
  assertEquals(packArena(intervals, { ...limits, usesSpare: true }).offsets, [0, 2, 1, 3]);
});

Deno.test("packArena() has no larger arena for that", () => {
  const random = generatorOf(5), limits = { alignment: 1, segmentBytes: Infinity };
  for (let round = 0; round < 50; round++) {
    const intervals = randomIntervals(40, 30, random).map((each) => ({ ...each, bytes: 1 + each.bytes % 3 }));
    const { arenaBytes } = packArena(intervals, { ...limits, usesSpare: true });
    assert(arenaBytes <= packArena(intervals, limits).arenaBytes);
  }
});
