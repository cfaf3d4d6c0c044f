import { assert, assertEquals } from "@std/assert";
import { ProgramBuilder } from "../trace/program.ts";
import { type DraftPlan, draftPlan, writesOf } from "./draft_plan.ts";
import { order } from "./order.ts";
import { StepSequence } from "./step_sequence.ts";

/** The values that steps write, in order. */
function written({ steps }: DraftPlan): number[] {
  return steps.flatMap(writesOf);
}

Deno.test("order() updates each parameter as soon as its gradient exists", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [64, 64], dtype: "f32" }, "x");
  const params = [0, 1, 2].map((i) =>
    b.input({ shape: [64, 64], dtype: "f32" }, `p${i}`, "parameters", true)
  );
  const matmul = { transposeA: false, transposeB: false };
  const gradients = params.map((p) => b.emit("matmul", [x, p], matmul));
  const updates = params.map((p, i) => b.emit("binary", [p, gradients[i]], { fn: "sub" }));
  const program = b.finish("step", updates.map((value, i) => ({ value, name: `p${i}`, donor: 1 + i })));
  const before = new StepSequence(draftPlan(program, 8));
  const after = order(before);
  assertEquals(written(after.draft), [0, 1, 2].flatMap((i) => [gradients[i], updates[i]]));
  assertEquals([before.peak, after.peak], [3 * 64 * 64 * 4, 64 * 64 * 4]);
});

Deno.test("order() leaves what reads an exchange's result where it does not wait for it", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [64, 64], dtype: "f32" }, "x");
  const p = b.input({ shape: [64, 64], dtype: "f32" }, "p", "parameters", true);
  const matmul = { transposeA: false, transposeB: false };
  const gradient = b.emit("matmul", [x, p], matmul);
  const sum = b.emit("allReduce", [gradient], { group: "data", fn: "sum" });
  const meanwhile = b.emit("matmul", [x, x], matmul);
  const update = b.emit("binary", [p, sum], { fn: "sub" });
  const outputs = [{ value: update, name: "p", donor: 1 }, { value: meanwhile, name: "y" }];
  const { draft } = order(new StepSequence(draftPlan(b.finish("step", outputs), 8)));
  assertEquals(written(draft), [gradient, sum, meanwhile, update]);
});

Deno.test("order() does not update a parameter that is still read", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [64, 64], dtype: "f32" }, "x");
  const p = b.input({ shape: [64, 64], dtype: "f32" }, "p", "parameters", true);
  const matmul = { transposeA: false, transposeB: false };
  const gradient = b.emit("matmul", [x, p], matmul);
  const again = b.emit("matmul", [p, x], matmul);
  const update = b.emit("binary", [p, gradient], { fn: "sub" });
  const outputs = [{ value: update, name: "p", donor: 1 }, { value: again, name: "again" }];
  const { draft } = order(new StepSequence(draftPlan(b.finish("step", outputs), 8)));
  assertEquals(written(draft), [again, gradient, update]);
});

Deno.test("order() makes a copy only when it is needed", () => {
  const b = new ProgramBuilder();
  const w = b.input({ shape: [64, 32], dtype: "f32" }, "w");
  const matmul = { transposeA: false, transposeB: false };
  const permutation = [1, 0];
  const early = b.emit("transpose", [w], { permutation });
  const square = b.emit("matmul", [w, w], { transposeA: false, transposeB: true });
  const next = b.emit("matmul", [square, square], matmul);
  const last = b.emit("matmul", [early, next], matmul);
  const before = new StepSequence(draftPlan(b.finish("late", [{ value: last, name: "" }]), 8));
  const after = order(before);
  assertEquals(written(after.draft), [square, next, early, last]);
  assert(after.peak < before.peak);
});

Deno.test("order() runs a step as soon as it frees one operand, although another is still read", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [64, 64], dtype: "f32" }, "x");
  const matmul = { transposeA: false, transposeB: false };
  const first = b.emit("matmul", [x, x], matmul);
  const second = b.emit("matmul", [x, first], matmul);
  const third = b.emit("matmul", [second, x], matmul);
  const product = b.emit("binary", [first, second], { fn: "mul" });
  const sum = b.emit("reduce", [product], { fn: "sum", axes: [0, 1] });
  const outputs = [{ value: third, name: "third" }, { value: sum, name: "sum" }];
  const { draft } = order(new StepSequence(draftPlan(b.finish("early", outputs), 8)));
  assertEquals(written(draft), [first, second, sum, third]);
});
