import { assertEquals } from "@std/assert";
import { compile } from "../../compile/compile.ts";
import type { DType } from "../../trace/dtype.ts";
import { ProgramBuilder, type ValueId } from "../../trace/program.ts";
import { lowerPlan } from "./lower.ts";
import { cudaTarget } from "./target.ts";

const shape = [4, 6];

/** The epilogues of the products of a program that `build` makes from x[4,5] w[5,6] b[6] z[4,6]. */
function epilogues(
  build: (builder: ProgramBuilder, product: ValueId, bias: ValueId, z: ValueId) => ValueId[],
  biasDtype: DType = "f32",
): string[] {
  const builder = new ProgramBuilder();
  const f32 = (...shape: number[]) => ({ shape, dtype: "f32" as const });
  const avals = [f32(4, 5), f32(5, 6), { shape: [6], dtype: biasDtype }, f32(4, 6)];
  const [x, w, given, z] = avals.map((aval, i) => builder.input(aval, `x${i}`));
  const b = builder.emit("cast", [given], { dtype: "f32" });
  const product = builder.emit("matmul", [x, w], { transposeA: false, transposeB: false });
  const row = builder.emit("reshape", [b], { shape: [1, 6] });
  const outputs = build(builder, product, builder.emit("broadcast", [row], { shape }), z);
  const program = builder.finish("test", outputs.map((value, i) => ({ value, name: `y${i}` })));
  const launches = lowerPlan(compile(program, cudaTarget, { verify: true }));
  return launches.map((launch) => launch.kind === "matmul" ? launch.epilogue?.kind ?? "none" : launch.kind);
}

const add = (builder: ProgramBuilder, a: ValueId, b: ValueId) =>
  builder.emit("binary", [a, b], { fn: "add" });
const relu = (builder: ProgramBuilder, a: ValueId) =>
  builder.emit("binary", [a, builder.emit("constant", [], { shape, dtype: "f32", values: [0] })], {
    fn: "max",
  });

Deno.test("a bias that follows a product becomes its epilogue", () => {
  assertEquals(epilogues((b, y, bias) => [add(b, y, bias)]), ["bias"]);
  assertEquals(epilogues((b, y, bias) => [add(b, bias, y)]), ["bias"]);
  assertEquals(epilogues((b, y, bias) => [add(b, y, bias)], "u8"), ["none", "kernel"]); // of u8, converted as it is read
});

Deno.test("a kernel that does more, or a product that is read twice, has no epilogue", () => {
  assertEquals(epilogues((_, y) => [y]), ["none"]);
  assertEquals(epilogues((b, y) => [relu(b, y)]), ["none", "kernel"]); // our ReLU keeps NaN
  assertEquals(epilogues((b, y, bias) => [relu(b, add(b, y, bias))]), ["none", "kernel"]);
  assertEquals(epilogues((b, y, _, z) => [add(b, y, z)]), ["none", "kernel"]); // not a bias: one element for each of the result
  assertEquals(epilogues((b, y, bias) => [add(b, add(b, y, bias), bias)]), ["none", "kernel"]);
  assertEquals(epilogues((b, y, bias) => [add(b, y, bias), y]), ["none", "kernel"]);
  assertEquals(epilogues((b, y, bias, z) => [add(b, y, bias), add(b, y, z)]).includes("bias"), false);
});

Deno.test("a convolution takes an epilogue if cuDNN has a plan for it", () => {
  const builder = new ProgramBuilder();
  const image = builder.input({ shape: [2, 5, 5, 3], dtype: "f32" }, "x");
  const filter = builder.input({ shape: [4, 3, 3, 3], dtype: "f32" }, "w");
  const attrs = { strides: [1, 1], padding: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1 } as const;
  const y = builder.emit("conv", [image, filter], attrs);
  const bias = builder.input({ shape: [1, 1, 1, 4], dtype: "f32" }, "b");
  const wide = builder.emit("broadcast", [bias], { shape: [2, 3, 3, 4] });
  const value = builder.emit("binary", [y, wide], { fn: "add" });
  const plan = compile(builder.finish("test", [{ value, name: "y" }]), cudaTarget, { verify: true });
  const kinds = (can: boolean) =>
    lowerPlan(plan, () => can).map((launch) =>
      launch.kind === "conv" ? launch.epilogue?.kind ?? "none" : launch.kind
    );
  assertEquals(kinds(true), ["bias"]);
  assertEquals(kinds(false), ["none", "kernel"]);
});
