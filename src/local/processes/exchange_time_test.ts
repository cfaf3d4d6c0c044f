import { assert, assertAlmostEquals, assertThrows } from "@std/assert";
import { tinyModel } from "../../../tests/tiny.ts";
import { cpuTarget } from "../../backends/cpu/target.ts";
import { LocalgradError } from "../../base/errors.ts";
import { sgd } from "../../optim.ts";
import { parallelTime } from "./exchange_time.ts";
import { dgl } from "../methods/dgl.ts";
import { man } from "../methods/man.ts";
import { planAlone, planProcesses } from "./plans.ts";
import { setup } from "../setup.ts";
import { stepTime, totalTime } from "../step_time.ts";

const target = cpuTarget(1);
const speeds = { operations: 1e9, bytes: 1e9 };
const none = { bytes: 1e18, latency: 0 };
const whole = (method = man(dgl())) =>
  setup({ model: tinyModel(), modules: 3, method, optimizer: sgd({ momentum: 0.9 }) });
const layout = { data: 1, modules: 2 };
const pair = { layout, runs: [{ first: 0, end: 1 }, { first: 1, end: 3 }] };

Deno.test("parallelTime() of one process is the time of its plan", () => {
  const alone = planAlone(whole(), 8, target);
  const { step, computing } = parallelTime([alone], { data: 1, modules: 1 }, speeds, none);
  assertAlmostEquals(step, totalTime(stepTime(alone.plan, 3, speeds)), 1e-12);
  assertAlmostEquals(computing[0], step, 1e-12);
  const launched = parallelTime([alone], { data: 1, modules: 1 }, { ...speeds, launch: 1 }, none).step;
  assertAlmostEquals(launched, step + alone.plan.steps.length, 1e-9);
});

Deno.test("parallelTime() of a pipeline is that of its slowest process, where links take no time", () => {
  for (const method of [dgl(), man(dgl())]) {
    const { step, computing } = parallelTime(
      planProcesses(whole(method), 8, target, pair),
      layout,
      speeds,
      none,
    );
    assertAlmostEquals(step, Math.max(...computing), 1e-12);
  }
});

Deno.test("parallelTime() has what a process waits for: features, the tracked block, sums", () => {
  const slow = { bytes: 1e6, latency: 10 };
  const plans = planProcesses(whole(dgl()), 8, target, pair);
  const { step, computing } = parallelTime(plans, layout, speeds, slow);
  // The second process receives, then computes: nothing is received ahead.
  const message = slow.latency + plans[0].sent.features / slow.bytes;
  assert(step >= message && step <= message + computing[1] + 1e-9, `${step}`);
  // The block that MAN's average moves toward is of the step before: it comes while the features of the next do.
  const tracked = planProcesses(whole(), 8, target, pair);
  const { step: exact, computing: own } = parallelTime(tracked, layout, speeds, slow);
  assert(exact >= message && exact <= message + own[0] + own[1] + 1e-9, `${exact}`);

  const shared = { data: 4, modules: 1 };
  const runs = [{ first: 0, end: 3 }];
  const sharing = planProcesses(whole(), 8, target, { layout: shared, runs });
  // Over four processes: a ring of six messages of a quarter, or a tree of four whole ones.
  const reductions = sharing[0].plan.memory.traffic!["data"].operations;
  const tree = 4 * (reductions * slow.latency + sharing[0].sent.gradients / 1.5 / slow.bytes);
  const sums = Math.min(reductions * 6 * slow.latency + sharing[0].sent.gradients / slow.bytes, tree);
  const together = parallelTime(sharing, shared, speeds, slow);
  assert(together.step >= sums - 1e-9 && together.step <= sums + together.computing[0] + 1e-9);
});

Deno.test("parallelTime() refuses impossible speeds", () => {
  const alone = [planAlone(whole(), 8, target)];
  const one = { data: 1, modules: 1 };
  assertThrows(
    () => parallelTime(alone, one, speeds, { bytes: 0, latency: 0 }),
    LocalgradError,
    "of the link",
  );
  assertThrows(() => parallelTime(alone, one, speeds, { bytes: 1, latency: -1 }), LocalgradError, "latency");
  assertThrows(
    () => parallelTime(alone, one, { operations: 0, bytes: 1 }, none),
    LocalgradError,
    "operations",
  );
});
