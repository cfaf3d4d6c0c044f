import { assertEquals, assertThrows } from "@std/assert";
import { allCuts } from "../../../tests/all_cuts.ts";
import { generatorOf } from "../../../tests/random_program.ts";
import { LocalgradError } from "../../base/errors.ts";
import { type ModuleRun, runsOf } from "./runs.ts";

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

Deno.test("runsOf() makes the slowest run as fast as any division can", () => {
  const random = generatorOf(5);
  for (let round = 0; round < 200; round++) {
    const modules = 1 + Math.floor(8 * random());
    const count = 1 + Math.floor(modules * random());
    const times = Array.from({ length: modules }, () => 1 + Math.floor(100 * random()));
    const weights = times.map(() => 1 + Math.floor(100 * random()));
    const bytes = ({ first, end }: ModuleRun) => sum(weights.slice(first, end));
    const ends = allCuts(modules, count);
    const divisions = ends.map((ends) => ends.map((end, i): ModuleRun => ({ first: ends[i - 1] ?? 0, end })));
    const slowest = (runs: readonly ModuleRun[]) =>
      Math.max(...runs.map(({ first, end }) => sum(times.slice(first, end))));
    // A limit that at least one division keeps to.
    const limit = Math.max(...divisions[Math.floor(random() * divisions.length)].map(bytes));
    const kept = divisions.filter((runs) => runs.every((run) => bytes(run) <= limit));
    const free = runsOf({ times }, count);
    const limited = runsOf({ times, bytes, limit }, count);
    assertEquals(slowest(free), Math.min(...divisions.map(slowest)), `round ${round}`);
    assertEquals(slowest(limited), Math.min(...kept.map(slowest)), `round ${round}, limited`);
    assertEquals(limited.every((run) => bytes(run) <= limit), true);
    assertEquals(free.map(({ first }) => first), [0, ...free.slice(0, -1).map(({ end }) => end)]);
    assertEquals(free.at(-1)!.end, modules);
  }
});

Deno.test("runsOf() refuses more processes than modules, and limits that cannot be kept", () => {
  assertThrows(() => runsOf({ times: [1, 1] }, 3), LocalgradError, "3 processes share 2 modules");
  const costs = { times: [1, 1, 1], bytes: ({ first, end }: ModuleRun) => 10 * (end - first), limit: 15 };
  assertThrows(() => runsOf(costs, 2), LocalgradError, "keeps to 15 bytes");
  assertEquals(runsOf(costs, 3).length, 3);
});
