import { assertEquals } from "@std/assert";
import { referenceTarget } from "../backends/reference/target.ts";
import { ProgramBuilder } from "../trace/program.ts";
import { compile } from "./compile.ts";
import { printPlan, printProgram } from "./print.ts";

const program = (() => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [2, 3], dtype: "f32" }, "x");
  const w = b.input({ shape: [3, 4], dtype: "f32" }, "w", "parameters", true);
  b.scope = "module 1/forward";
  const y = b.emit("matmul", [x, w], { transposeA: false, transposeB: false });
  const sum = b.emit("reduce", [b.emit("unary", [y], { fn: "tanh" })], { fn: "sum", axes: [1] });
  b.scope = "module 1/update";
  const half = b.emit("constant", [], { shape: [3, 4], dtype: "f32", values: [0.5] });
  const next = b.emit("binary", [w, half], { fn: "mul" }, "script.ts:3:1");
  return b.finish("step", [{ value: next, name: "w", donor: 1 }, { value: sum, name: "sum" }]);
})();

Deno.test("printProgram() writes a line for each instruction", () => {
  assertEquals(
    printProgram(program),
    `program step
  %0 f32[2,3] = input x (inputs)
  %1 f32[3,4] = input w (parameters, donated)
  %2 f32[2,4] = matmul(%0, %1) transposeA=false transposeB=false  # module 1/forward
  %3 f32[2,4] = tanh(%2)  # module 1/forward
  %4 f32[2] = reduce(%3) fn=sum axes=[1]  # module 1/forward
  %5 f32[3,4] = constant() shape=[3,4] dtype="f32" values=[0.5]  # module 1/update
  %6 f32[3,4] = mul(%1, %5) at script.ts:3:1  # module 1/update
  result w = %6 in the memory of w
  result sum = %4`,
  );
});

Deno.test("printPlan() writes kernels as expressions, and where everything is", () => {
  assertEquals(
    printPlan(compile(program, referenceTarget)),
    `plan step: 3 steps, 112 bytes, of which arena 32
  %0 f32[2,3] = input x
  %1 f32[3,4] = input w
  0: %2 f32[2,4] @ 0 = matmul(%0, %1) transposeA=false transposeB=false  # module 1/forward
  1: kernel  # module 1/forward
    over [2,4]
      n1 = tanh(%2[4,1])
      r0 = sum of n1
    folding axes [1]
      e0 = r0
      %4 f32[2] @ output 1 = e0
  2: kernel  # module 1/update
    over [12]
      n2 = mul(%1[1], 0.5)
      %6 f32[3,4] @ output 0 = n2
  result w = %6 in the memory of w
  result sum = %4`,
  );
});
