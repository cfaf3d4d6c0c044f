import { assert, assertEquals } from "@std/assert";
import { agree, runPlan } from "../../tests/run_plan.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { evaluate } from "../backends/reference/evaluate.ts";
import { sizeOf } from "../trace/dtype.ts";
import { type Program, ProgramBuilder, type ValueId } from "../trace/program.ts";
import { compile, placeInMemory } from "./compile.ts";
import { type DraftPlan, draftPlan, writesOf } from "./draft_plan.ts";
import type { Plan } from "./plan.ts";
import { verifyPlan } from "./verify_plan.ts";

/** Lowers a program and checks that its steps give the same results. */
function draft(program: Program, maxKernelBuffers: number): DraftPlan {
  const target = { ...referenceTarget, maxKernelBuffers };
  const result = draftPlan(program, maxKernelBuffers);
  const plan: Plan = placeInMemory(result, target);
  verifyPlan(plan, target, program);
  const inputs = program.inputs.map(({ value }, i) =>
    Array.from({ length: sizeOf(program.values[value].shape) }, (_, k) => Math.sin(100 * i + k))
  );
  assert(agree(runPlan(plan, inputs), evaluate(program, inputs)));
  return result;
}

const exp = (b: ProgramBuilder, x: ValueId) => b.emit("unary", [x], { fn: "exp" });
const add = (b: ProgramBuilder, x: ValueId, y: ValueId) => b.emit("binary", [x, y], { fn: "add" });

Deno.test("draftPlan() computes through a reshape, over a space cut where both shapes are", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [6, 10], dtype: "f32" }, "x");
  const bias = b.input({ shape: [5], dtype: "f32" }, "bias");
  const spread = b.emit("broadcast", [b.emit("reshape", [bias], { shape: [1, 1, 5] })], { shape: [6, 2, 5] });
  const flat = b.emit("reshape", [exp(b, spread)], { shape: [6, 10] });
  const y = add(b, x, flat);
  const program = b.finish("cut", [{ value: y, name: "y" }]);
  const { steps } = draft(program, 8);
  assertEquals(steps.flatMap(writesOf), [y]);
  assertEquals(steps[0].kind === "kernel" && steps[0].kernel.space, [6, 2, 5]);
});

Deno.test("draftPlan() stores the operand of a reshape that no space fits", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [4, 6], dtype: "f32" }, "x");
  const column = b.input({ shape: [4, 1], dtype: "f32" }, "column");
  const inner = add(b, exp(b, x), b.emit("broadcast", [column], { shape: [4, 6] }));
  const turned = b.emit("reshape", [inner], { shape: [6, 4] });
  const y = exp(b, turned);
  const program = b.finish("turned", [{ value: y, name: "y" }]);
  assertEquals(draft(program, 8).steps.flatMap(writesOf), [inner, y]);
});

Deno.test("draftPlan() respects the buffers of a kernel when a value is stored after all", () => {
  const b = new ProgramBuilder();
  const [x, y, z] = ["x", "y", "z"].map((name) => b.input({ shape: [4, 6], dtype: "f32" }, name));
  const v = exp(b, x);
  const turned = exp(b, b.emit("reshape", [v], { shape: [6, 4] }));
  const sum = add(b, add(b, add(b, v, x), y), z);
  const program = b.finish("sum", [{ value: turned, name: "turned" }, { value: sum, name: "sum" }]);
  for (const step of draft(program, 4).steps) {
    assert(step.kind === "kernel" && step.kernel.inputs.length + step.kernel.outputs.length <= 4);
  }
});

Deno.test("compile() merges axes if every operand allows it", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [2, 3, 4, 5], dtype: "f32" }, "x");
  const bias = b.input({ shape: [1, 1, 1, 5], dtype: "f32" }, "bias");
  const rows = b.input({ shape: [2, 3, 1, 1], dtype: "f32" }, "rows");
  const wide = (value: ValueId) => b.emit("broadcast", [value], { shape: [2, 3, 4, 5] });
  const results = [
    exp(b, x),
    add(b, exp(b, x), wide(bias)),
    add(b, add(b, exp(b, x), wide(bias)), wide(rows)),
  ];
  const spaces = results.map((value) => {
    const plan = compile(b.finish("axes", [{ value, name: "" }]), referenceTarget, { verify: true });
    return plan.steps.map((step) => step.kind === "kernel" && step.kernel.space);
  });
  assertEquals(spaces, [[[120]], [[24, 5]], [[6, 4, 5]]]);
});

Deno.test("compile() merges reduced axes separately from those that are kept", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [2, 3, 4, 5], dtype: "f32" }, "x");
  for (
    const [axes, space, folded] of [[[0, 1], [6, 20], [0]], [[1, 2], [2, 12, 5], [1]], [[0, 1, 2, 3], [120], [
      0,
    ]]]
  ) {
    const value = b.emit("reduce", [x], { fn: "sum", axes });
    const { steps } = compile(b.finish("axes", [{ value, name: "" }]), referenceTarget, { verify: true });
    const merged = steps.map((step) =>
      step.kind === "kernel" && [step.kernel.space, step.kernel.reduce?.axes]
    );
    assertEquals(merged, [[space, folded]]);
  }
});
