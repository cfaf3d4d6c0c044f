import { assert, assertEquals } from "@std/assert";
import { randomProgram } from "../../tests/random_program.ts";
import { evaluate } from "../backends/reference/evaluate.ts";
import type { DType, Shape } from "../trace/dtype.ts";
import type { BinaryFn } from "../trace/ops.ts";
import { type Program, ProgramBuilder, type ValueId } from "../trace/program.ts";
import { simplify } from "./simplify.ts";

/** Simplifies a program of one result over inputs x and y; returns its ops in order. */
function opsOf(
  build: (b: ProgramBuilder, x: ValueId, y: ValueId) => ValueId,
  shape: Shape = [2, 3],
  dtype: DType = "f32",
): string[] {
  const b = new ProgramBuilder();
  const [x, y] = [b.input({ shape, dtype }, "x"), b.input({ shape, dtype }, "y")];
  const value = build(b, x, y);
  return simplify(b.finish("test", [{ value, name: "" }])).instructions.map(({ op, attrs }) =>
    "fn" in attrs ? attrs.fn : op
  );
}

function constant(b: ProgramBuilder, value: number, shape: Shape = [2, 3], dtype: DType = "f32"): ValueId {
  return b.emit("constant", [], { shape, dtype, values: [value] });
}

function withNumber(fn: BinaryFn, value: number): string[] {
  return opsOf((b, x) => b.emit("binary", [x, constant(b, value)], { fn }));
}

Deno.test("simplify() removes arithmetic that changes no bit", () => {
  assertEquals(withNumber("mul", 1), []);
  assertEquals(withNumber("div", 1), []);
  assertEquals(withNumber("sub", 0), []);
  assertEquals(withNumber("add", -0), []);
  assertEquals(withNumber("pow", 1), []);
  assertEquals(withNumber("mul", -1), ["neg"]);
  assertEquals(withNumber("pow", 2), ["mul"]);
  assertEquals(opsOf((b, x) => b.emit("unary", [b.emit("unary", [x], { fn: "neg" })], { fn: "neg" })), []);
  assertEquals(opsOf((b, x) => b.emit("select", [b.emit("compare", [x, x], { fn: "lt" }), x, x], {})), []);
});

Deno.test("simplify() keeps x + 0, which turns −0 into 0, unless x is never −0", () => {
  assertEquals(withNumber("add", 0), ["constant", "add"]);
  const plusZero = (b: ProgramBuilder, x: ValueId) => b.emit("binary", [x, constant(b, 0)], { fn: "add" });
  assertEquals(opsOf((b, x) => plusZero(b, b.emit("unary", [x], { fn: "exp" }))), ["exp"]);
});

Deno.test("simplify() keeps x · 0, which is NaN for infinite x, but not for integers", () => {
  const timesZero = (dtype: DType) => (b: ProgramBuilder, x: ValueId) =>
    b.emit("binary", [x, constant(b, 0, [2, 3], dtype)], { fn: "mul" });
  assertEquals(opsOf(timesZero("f32")), ["constant", "mul"]);
  assertEquals(opsOf(timesZero("i32"), [2, 3], "i32"), ["constant"]);
});

Deno.test("simplify() divides by multiplying only where that is exact", () => {
  assertEquals(withNumber("div", 4), ["constant", "mul"]);
  assertEquals(withNumber("div", 3), ["constant", "div"]);
});

Deno.test("simplify() composes views", () => {
  const twice = opsOf((b, x) => {
    const flat = b.emit("reshape", [x], { shape: [6] });
    return b.emit("reshape", [flat], { shape: [3, 2] });
  });
  assertEquals(twice, ["reshape"]);
  const back = opsOf((b, x) => {
    const transposed = b.emit("transpose", [x], { permutation: [1, 0] });
    return b.emit("transpose", [transposed], { permutation: [1, 0] });
  });
  assertEquals(back, []);
  const slices = opsOf((b, x) => {
    const first = b.emit("slice", [x], { starts: [0, 1], limits: [2, 3], strides: [1, 1] });
    return b.emit("slice", [first], { starts: [1, 0], limits: [2, 2], strides: [1, 2] });
  });
  assertEquals(slices, ["slice"]);
  const part = opsOf((b, x, y) => {
    const joined = b.emit("concat", [x, y], { axis: 0 });
    return b.emit("slice", [joined], { starts: [2, 0], limits: [4, 3], strides: [1, 1] });
  });
  assertEquals(part, []);
});

Deno.test("simplify() folds transposes into matrix products", () => {
  const ops = opsOf((b, x, y) => {
    const transposed = b.emit("transpose", [y], { permutation: [1, 0] });
    return b.emit("matmul", [x, transposed], { transposeA: false, transposeB: false });
  });
  assertEquals(ops, ["matmul"]);
});

Deno.test("simplify() sums equal terms by one product", () => {
  const ops = opsOf((b, x) => {
    const unit = b.emit("reshape", [x], { shape: [2, 3, 1] });
    const wide = b.emit("broadcast", [unit], { shape: [2, 3, 50] });
    return b.emit("reduce", [wide], { fn: "sum", axes: [2] });
  });
  assertEquals(ops, ["constant", "mul"]);
});

Deno.test("simplify() computes equal expressions once, but nothing through a barrier", () => {
  const sum = (b: ProgramBuilder, x: ValueId, y: ValueId) => b.emit("binary", [x, y], { fn: "add" });
  assertEquals(opsOf((b, x, y) => b.emit("binary", [sum(b, x, y), sum(b, x, y)], { fn: "mul" })), [
    "add",
    "mul",
  ]);
  const apart = opsOf((b, x, y) => {
    const again = b.emit("barrier", [x], {});
    return b.emit("binary", [sum(b, x, y), sum(b, again, y)], { fn: "mul" });
  });
  assertEquals(apart, ["barrier", "add", "add", "mul"]);
});

Deno.test("simplify() tells −0, NaN and infinities apart", () => {
  const b = new ProgramBuilder();
  const outputs = [0, -0, NaN, Infinity, -Infinity].map((value) => ({
    value: constant(b, value, []),
    name: "",
  }));
  const program = simplify(b.finish("test", outputs));
  assertEquals(evaluate(program, []).map(([x]) => Object.is(x, -0) ? "-0" : String(x)), [
    "0",
    "-0",
    "NaN",
    "Infinity",
    "-Infinity",
  ]);
});

/** conv(x, w), element-wise work that reads nothing else, then the same conv again. */
function twiceConvolved(keepFirst: boolean): Program {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [1, 4, 4, 2], dtype: "f32" }, "x");
  const w = b.input({ shape: [2, 1, 1, 2], dtype: "f32" }, "w");
  const attrs = { strides: [1, 1], padding: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1 } as const;
  const first = b.emit("conv", [x, w], attrs);
  const sum = b.emit("reduce", [first], { fn: "sum", axes: [0, 1, 2, 3] });
  const other = b.emit("unary", [x], { fn: "exp" });
  const second = b.emit("conv", [x, w], attrs);
  const results = [sum, other, second, ...keepFirst ? [first] : []];
  return b.finish("test", results.map((value) => ({ value, name: "" })));
}

Deno.test("simplify() shares a structured op only while its first result is live anyway", () => {
  const convs = (program: Program) => simplify(program).instructions.filter(({ op }) => op === "conv").length;
  assertEquals(convs(twiceConvolved(false)), 2);
  assertEquals(convs(twiceConvolved(true)), 1);
});

Deno.test("simplify() leaves no dead code, keeps every input, and changes nothing the second time", () => {
  for (let seed = 0; seed < 200; seed++) {
    const { program } = randomProgram(seed, 40);
    const once = simplify(program);
    const used = new Set([...once.outputs.map(({ value }) => value)]);
    for (const { inputs, output } of once.instructions.toReversed()) {
      assert(used.has(output), `seed ${seed}: %${output} is not used`);
      for (const input of inputs) used.add(input);
    }
    assertEquals(once.inputs.map(({ name }) => name), program.inputs.map(({ name }) => name));
    assertEquals(simplify(once), once, `seed ${seed}`);
  }
});
