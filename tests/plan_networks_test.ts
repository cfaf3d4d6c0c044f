import { assert, assertEquals } from "@std/assert";
import { referenceTarget } from "../src/backends/reference/target.ts";
import { compile } from "../src/compile/compile.ts";
import type { Plan, Target } from "../src/compile/plan.ts";
import { scopeOf } from "../src/compile/report.ts";
import { dgl, endToEnd, greedy, infopro, man } from "../src/local.ts";
import { moduleIn } from "../src/local/places.ts";
import { resnet110, resnet32, resnet8 } from "../src/models.ts";
import { sizeOf } from "../src/trace/dtype.ts";
import { stepProgram } from "./step_program.ts";

const MiB = 2 ** 20;
/** Limits like a GPU's: aligned, few buffers per kernel. */
const target: Target = { ...referenceTarget, name: "gpu", alignment: 256, maxKernelBuffers: 10 };

/** The module of each step, in step order. */
function modulesOf(plan: Plan): number[] {
  return plan.steps.map((step) => moduleIn(scopeOf(step))).filter((index) => index !== undefined);
}

Deno.test("plans of training steps are valid on machines of all kinds", () => {
  const segmented = { ...target, segmentBytes: 64 * MiB, workspace: () => 1 << 20 };
  // An average overwrites its old values, wherever in the step it moves; copied statistics are an input passed through.
  const averages = [
    man(dgl(), { moves: "beforeBackward", statistics: "average" }),
    man(greedy(), { moves: "afterStep", statistics: "copy" }),
    man(greedy(), { average: "trained", statistics: "copy" }),
  ];
  for (const method of [endToEnd(), dgl(), man(dgl()), infopro(), ...averages]) {
    const program = stepProgram(resnet8({ classes: 10 }), 3, method, 64);
    for (const machine of [referenceTarget, target, segmented]) {
      const plan = compile(program, machine, { verify: true });
      // All trained values and all state overwrite their old values.
      const own = plan.outputs.filter((_, i) => plan.donors[i] < 0).map(({ name }) => name);
      assertEquals(own.sort(), ["losses", "score"], `${method.name} on ${machine.name}`);
    }
  }
});

Deno.test("a local step's modules run one after the other", () => {
  const plan = compile(stepProgram(resnet32({ classes: 10 }), 16, man(dgl()), 32), target, { verify: true });
  const modules = modulesOf(plan);
  assertEquals(modules, modules.toSorted((a, b) => a - b));
  assertEquals(new Set(modules).size, 15);
});

Deno.test("fused kernels stay small through skip connections", () => {
  const program = stepProgram(resnet32({ classes: 10 }), 1, endToEnd(), 32);
  const plan = compile(program, referenceTarget, { verify: true });
  for (const step of plan.steps) {
    if (step.kind === "op") continue;
    const { space, inputs, nodes } = step.kernel;
    if (sizeOf(space) < 50_000) continue;
    const full = inputs.filter((value) => sizeOf(plan.values[value].shape) === sizeOf(space));
    assert(full.length <= 5, `${full.length} operands of full size in ${step.scope}`);
    assert(nodes.length <= 100, `${nodes.length} nodes in ${step.scope}`);
  }
});

Deno.test("ResNet-110 at batch 1024 end to end needs at most 8.3 GiB", () => {
  const plan = compile(stepProgram(resnet110({ classes: 10 }), 1, endToEnd(), 1024), target);
  assert(plan.memory.peakBytes <= 8.3 * 1024 * MiB, `${plan.memory.peakBytes / MiB} MiB`);
  // Two kernels for each of 112 batch norms, forward and backward; the rest are updates, the head and the loss.
  const kernels = plan.steps.filter(({ kind }) => kind === "kernel").length;
  assert(kernels <= 8 * 112, `${kernels} kernels`);
});

Deno.test("ResNet-110 at batch 1024 in 54 modules with man(dgl) needs at most 1.25 GiB", () => {
  const program = stepProgram(resnet110({ classes: 10 }), 55, man(dgl()), 1024);
  const plan = compile(program, target, { verify: true });
  assert(plan.memory.peakBytes <= 1.25 * 1024 * MiB, `${plan.memory.peakBytes / MiB} MiB`);
  const held = Math.max(...plan.memory.timeline.map(({ liveBytes }) => liveBytes));
  assert(plan.arenaBytes <= 1.01 * held, `an arena of ${plan.arenaBytes} for ${held} bytes live at once`);
});
