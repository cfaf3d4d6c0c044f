import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { allCuts } from "../../tests/all_cuts.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Plan } from "../compile/plan.ts";
import { resnet32 } from "../models.ts";
import { sgd } from "../optim.ts";
import { balanced } from "./partition/balance.ts";
import { stepPlan } from "./memory.ts";
import { dgl } from "./methods/dgl.ts";
import { setup } from "./setup.ts";
import { stepTime, totalTime, TYPICAL } from "./step_time.ts";

Deno.test("stepTime() takes the slower of operations and memory traffic, by module", () => {
  const product = (scope: string, inputs: [number, number], output: number) => ({
    kind: "op" as const,
    instruction: {
      op: "matmul" as const,
      attrs: { transposeA: false, transposeB: false },
      ...{ scope, inputs, output },
    },
  });
  const f32 = (...shape: number[]) => ({ shape, dtype: "f32" as const });
  // 2 · 8 · 8 · 8 operations on 3 · 256 bytes, and 2 · 8 · 8 on 256 + 2 · 32.
  const plan: Pick<Plan, "steps" | "values"> = {
    values: [f32(8, 8), f32(8, 8), f32(8, 8), f32(8, 1), f32(8, 1)],
    steps: [
      product("module 1/forward", [0, 1], 2),
      product("module 2/update", [0, 3], 4),
      product("", [0, 1], 2),
    ],
  };
  const speeds = { operations: 1024, bytes: 768 };
  const time = stepTime(plan, 2, speeds);
  assertAlmostEquals(time.modules[0], 1); // 1024 operations; the bytes take as long
  assertAlmostEquals(time.modules[1], 320 / 768);
  assertAlmostEquals(time.rest, 1);
  assertAlmostEquals(totalTime(time), 2 + 320 / 768);
  assertAlmostEquals(stepTime(plan, 2, { operations: 512, bytes: 768 }).modules[0], 2);
  assertThrows(() => stepTime(plan, 2, { operations: 0, bytes: 1 }), LocalgradError, "operations a second");
});

Deno.test("balanced() by time finds the cut whose slowest module is fastest", () => {
  const target = { ...referenceTarget, alignment: 256, maxKernelBuffers: 10 };
  const resnet = resnet32({ classes: 10 });
  const blocks = [...resnet.blocks.slice(0, 3), ...resnet.blocks.slice(5, 7), ...resnet.blocks.slice(10, 12)];
  const run = { model: { ...resnet, blocks }, method: dgl(), optimizer: sgd({ momentum: 0.9 }) };
  const slowest = (modules: { after: readonly string[] }) => {
    const made = setup({ ...run, modules });
    return Math.max(...stepTime(stepPlan(made, 64, target), made.modules.length, TYPICAL).modules);
  };
  const names = blocks.map(({ name }) => name);
  const times = allCuts(names.length, 3).map((ends) =>
    slowest({ after: ends.slice(0, -1).map((end) => names[end - 1]) })
  );
  const found = slowest(balanced({ ...run, batch: 64, target, modules: 3, by: "time" }));
  assert(found <= 1.01 * Math.min(...times), `${found}, and ${Math.min(...times)} is possible`);
  assert(
    found < 0.9 * slowest(balanced({ ...run, batch: 64, target, modules: 3 })),
    "the peak is another measure",
  );
  assertEquals(times.length, 15);
  assertThrows(
    () => balanced({ ...run, batch: 64, target, modules: 3, by: "speed" as "time" }),
    LocalgradError,
    "by must be",
  );
});
