import { assert, assertThrows } from "@std/assert";
import { referenceTarget } from "../backends/reference/target.ts";
import { type Program, ProgramBuilder } from "../trace/program.ts";
import { compile } from "./compile.ts";
import type { Kernel } from "./kernel.ts";
import type { Location, Plan, Step, Target } from "./plan.ts";
import { simplify } from "./simplify.ts";
import { verifyPlan } from "./verify_plan.ts";
import { verifyProgram } from "./verify_program.ts";

const target: Target = {
  ...referenceTarget,
  alignment: 16,
  segmentBytes: 4096,
  workspace: (step) => step.kind === "op" ? 64 : 0,
};

/** Products with element-wise work between them; p is donated to its update. */
const program: Program = (() => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [8, 8], dtype: "f32" }, "x");
  const p = b.input({ shape: [8, 8], dtype: "f32" }, "p", "parameters", true);
  const matmul = { transposeA: false, transposeB: false };
  const y = b.emit("matmul", [x, p], matmul);
  const z = b.emit("matmul", [y, x], matmul);
  const w = b.emit("binary", [y, b.emit("unary", [z], { fn: "tanh" })], { fn: "mul" });
  const v = b.emit("matmul", [w, z], matmul);
  const next = b.emit("binary", [p, v], { fn: "sub" });
  const sum = b.emit("reduce", [v], { fn: "sum", axes: [0] });
  return simplify(b.finish("faulty", [{ value: next, name: "p", donor: 1 }, { value: sum, name: "sum" }]));
})();
const plan = compile(program, target);

/** Asserts that the plan with some of it replaced is refused, for this reason. */
function refused(change: Partial<Plan>, why: string): void {
  assertThrows(() => verifyPlan({ ...plan, ...change }, target, program), Error, why);
}

function replaceStep(index: number, step: Step): Partial<Plan> {
  return { steps: plan.steps.with(index, step) };
}

const kernelAt = plan.steps.findIndex((step) => step.kind === "kernel");
const opAt = plan.steps.findIndex((step) => step.kind === "op");

/** The first kernel with some of it replaced. */
function replaceKernel(change: Partial<Kernel>): Partial<Plan> {
  const step = plan.steps[kernelAt] as Extract<Step, { kind: "kernel" }>;
  return replaceStep(kernelAt, { ...step, kernel: { ...step.kernel, ...change } });
}

Deno.test("verifyPlan() accepts an unchanged plan", () => {
  verifyPlan(plan, target, program);
});

Deno.test("verifyPlan() finds steps that are missing, repeated or in the wrong order", () => {
  plan.steps.forEach((step, s) => {
    refused({ steps: plan.steps.toSpliced(s, 1) }, "and its memory holds");
    refused({ steps: plan.steps.toSpliced(s, 0, step) }, s === 0 ? "a second time" : "");
  });
  refused({ steps: plan.steps.toReversed() }, "its memory holds");
});

Deno.test("verifyPlan() finds every value with an invalid location", () => {
  const elsewhere = (value: number, location: Location) => ({
    locations: plan.locations.with(value, location),
  });
  let moved = 0;
  plan.locations.forEach((location, value) => {
    if (location?.kind !== "arena") return;
    moved++;
    refused(elsewhere(value, { kind: "arena", offset: location.offset + 4 }), "not a multiple of 16");
    refused(elsewhere(value, { kind: "arena", offset: 1 << 20 }), "outside the arena");
    refused(elsewhere(value, { kind: "input", index: 0 }), "is written to input 0");
    refused(elsewhere(value, { kind: "output", index: 1 }), "is written to the memory of");
    refused({ locations: plan.locations.with(value, undefined) }, "has no location");
  });
  assert(moved >= 3);
});

Deno.test("verifyPlan() finds live values that overlap", () => {
  const arena = plan.locations.flatMap((location, value) => location?.kind === "arena" ? [value] : []);
  let found = 0;
  for (const a of arena) {
    for (const b of arena) {
      const apart = JSON.stringify(plan.locations[a]) !== JSON.stringify(plan.locations[b]);
      if (!apart) continue;
      const change = { locations: plan.locations.with(a, plan.locations[b]) };
      try {
        verifyPlan({ ...plan, ...change }, target, program);
      } catch {
        found++;
      }
    }
  }
  assert(found >= 2, `${found} found`);
});

Deno.test("verifyPlan() finds memory beyond its limits", () => {
  refused({ arenaBytes: plan.arenaBytes - 1 }, "outside the arena");
  const crossing = plan.locations.map((location): Location | undefined =>
    location?.kind === "arena" ? { kind: "arena", offset: location.offset + 4096 - 128 } : location
  );
  refused({ locations: crossing, arenaBytes: 1 << 16 }, "crosses from one segment");
  const op = plan.steps[opAt] as Extract<Step, { kind: "op" }>;
  const location = plan.locations[op.instruction.output] as Extract<Location, { kind: "arena" }>;
  refused(replaceStep(opAt, { ...op, workspace: { offset: location.offset, bytes: 64 } }), "share memory");
});

Deno.test("verifyPlan() finds results in the wrong place, and donors that were not donated", () => {
  refused({ donors: [-1, 1] }, "");
  refused({ donors: [0, -1] }, "");
  refused({ outputs: plan.outputs.toReversed() }, "is written to the memory of");
  refused({ inputs: plan.inputs.map((input) => ({ ...input, donated: false })) }, "was not donated");
});

Deno.test("verifyPlan() finds kernels that are not well formed", () => {
  const { kernel } = plan.steps[kernelAt] as Extract<Step, { kind: "kernel" }>;
  refused(replaceKernel({ inputs: [...kernel.inputs, kernel.inputs[0]] }), "listed twice");
  refused(replaceKernel({ space: [kernel.space[0] + 1] }), "reaches from");
  refused(replaceKernel({ nodes: kernel.nodes.toReversed() }), "");
  refused(replaceKernel({ stores: [] }), "");
  const nodes = kernel.nodes.map((node) =>
    node.kind === "load" ? { ...node, view: { ...node.view, offset: 1 } } : node
  );
  refused(replaceKernel({ nodes }), "reaches from");
  const typed = kernel.nodes.map((node) => node.kind === "load" ? { ...node, dtype: "i32" as const } : node);
  refused(replaceKernel({ nodes: typed }), "loads f32 as i32");
});

Deno.test("verifyPlan() finds writes over elements that the same kernel reads at other points", () => {
  const b = new ProgramBuilder();
  const p = b.input({ shape: [4, 4], dtype: "f32" }, "p", "parameters", true);
  const turned = b.emit("transpose", [p], { permutation: [1, 0] });
  const program = b.finish("turned", [{ value: turned, name: "p", donor: 0 }]);
  const plan = compile(program, target, { verify: true });
  const unsound = { ...plan, donors: [0] };
  assertThrows(() => verifyPlan(unsound, target, program), Error, "while that is still read");
});

Deno.test("verifyProgram() finds values made twice, read too early, or recorded with the wrong shape", () => {
  verifyProgram(program);
  const refuse = (change: Partial<Program>, why: string) =>
    assertThrows(() => verifyProgram({ ...program, ...change }), Error, why);
  const { instructions, values, outputs } = program;
  refuse({ instructions: instructions.toReversed() }, "before it is made");
  refuse({ instructions: [...instructions, instructions[0]] }, "made twice");
  refuse({ values: values.with(instructions[0].output, { shape: [8, 9], dtype: "f32" }) }, "is recorded as");
  refuse({ instructions: [] }, "never made");
  refuse({ outputs: [{ ...outputs[0], donor: 0 }] }, "not donated");
});
