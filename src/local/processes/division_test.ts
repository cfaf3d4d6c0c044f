import { assert, assertEquals, assertThrows } from "@std/assert";
import { allCuts } from "../../../tests/all_cuts.ts";
import { cpuTarget } from "../../backends/cpu/target.ts";
import { LocalgradError } from "../../base/errors.ts";
import { resnet32 } from "../../models.ts";
import { sgd } from "../../optim.ts";
import { balanced } from "../partition/balance.ts";
import { divide } from "./division.ts";
import { dgl } from "../methods/dgl.ts";
import { planAlone, planProcesses } from "./plans.ts";
import type { ModuleRun } from "./runs.ts";
import { setup } from "../setup.ts";
import { stepTime, TYPICAL } from "../step_time.ts";

const resnet = resnet32({ classes: 10 });
const blocks = [0, 1, 5, 10].map((i) => resnet.blocks[i]);
const made = { model: { ...resnet, blocks }, method: dgl(), optimizer: sgd({ momentum: 0.9 }) };
const run = { batch: 16, target: cpuTarget(1) };
const layout = { data: 1, modules: 2 };

Deno.test("divide() makes the slowest process as fast as the limit allows, and names the least", () => {
  const whole = setup({ ...made, modules: { after: blocks.slice(0, -1).map(({ name }) => name) } });
  const times = stepTime(planAlone(whole, run.batch, run.target).plan, 4, TYPICAL).modules;
  const divisions = allCuts(4, 2).map((ends) =>
    ends.map((end, i): ModuleRun => ({ first: ends[i - 1] ?? 0, end }))
  );
  const slowest = (runs: readonly ModuleRun[]) =>
    Math.max(...runs.map(({ first, end }) => times.slice(first, end).reduce((a, b) => a + b)));
  const most = (runs: readonly ModuleRun[]) =>
    Math.max(
      ...planProcesses(whole, run.batch, run.target, { layout, runs }).map(({ memory }) => memory.peakBytes),
    );
  const costs = divisions.map((runs) => ({ time: slowest(runs), bytes: most(runs) }));
  const sizes = costs.map(({ bytes }) => bytes).sort((a, b) => a - b);
  for (const limit of [Infinity, ...sizes]) {
    const runs = divide(whole, { ...run, layout, limit });
    assert(most(runs) <= limit);
    const best = Math.min(...costs.filter(({ bytes }) => bytes <= limit).map(({ time }) => time));
    assertEquals(slowest(runs), best, `limit ${limit}`);
  }
  const least = (Math.ceil(sizes[0] / 2 ** 20 * 100) / 100).toFixed(2);
  assertThrows(
    () => divide(whole, { ...run, layout, limit: sizes[0] - 1 }),
    LocalgradError,
    `need at least ${least} MiB each`,
  );
  assertThrows(
    () => divide(whole, { ...run, layout: { data: 1, modules: 6 } }),
    LocalgradError,
    "6 processes",
  );
  assertEquals(divide(whole, { ...run, layout: { data: 4, modules: 1 } }), [{ first: 0, end: 4 }]);
});

Deno.test("balanced() by time keeps a process of each module within a limit, or names the least", () => {
  const options = { ...made, ...run, modules: 2, by: "time" } as const;
  const names = blocks.map(({ name }) => name);
  const cuts = names.slice(0, -1).map((name) => {
    const whole = setup({ ...made, modules: { after: [name] } });
    const runs = [{ first: 0, end: 1 }, { first: 1, end: 2 }];
    const bytes = planProcesses(whole, run.batch, run.target, { layout, runs }).map(({ memory }) =>
      memory.peakBytes
    );
    return { name, most: Math.max(...bytes) };
  });
  const free = balanced(options).after[0];
  const { most: freely } = cuts.find(({ name }) => name === free)!;
  assertEquals(balanced({ ...options, limit: 1.05 * freely }).after, [free]);
  const least = Math.min(...cuts.map(({ most }) => most));
  assert(least < 0.9 * freely, "the limit matters here");
  const limited = balanced({ ...options, limit: 1.05 * least }).after[0];
  assert(cuts.find(({ name }) => name === limited)!.most <= 1.1 * least);
  const { message } = assertThrows(() => balanced({ ...options, limit: 2 ** 20 }), LocalgradError);
  const named = 2 ** 20 * Number(/at least ([0-9.]+) MiB/.exec(message)![1]);
  assert(Math.abs(named - least) < 0.05 * least, message);
  assertThrows(() => balanced({ ...options, by: "memory", limit: 1 }), LocalgradError, 'by: "time"');
});
