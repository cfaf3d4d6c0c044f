import { assert, assertEquals } from "@std/assert";
import { compile } from "../../compile/compile.ts";
import { ProgramBuilder } from "../../trace/program.ts";
import { lowerPlan } from "./lower.ts";
import { webgpuTarget } from "./target.ts";
import { variants } from "./variant.ts";

Deno.test("no dispatch binds a range of the arena twice, which WebGPU forbids", () => {
  const builder = new ProgramBuilder();
  const input = builder.input({ shape: [8, 8], dtype: "f32" }, "x");
  const x = builder.emit("unary", [input], { fn: "exp" });
  const plain = { transposeA: false, transposeB: false };
  const square = builder.emit("matmul", [x, x], plain);
  const value = builder.emit("unary", [builder.emit("matmul", [square, x], plain)], { fn: "sin" });
  const plan = compile(builder.finish("test", [{ value, name: "y" }]), webgpuTarget, { verify: true });
  for (const variant of Object.values(variants)) {
    const products = lowerPlan(plan, variant).filter(({ label }) => label === "matmul");
    assertEquals(products.map(({ ranges }) => ranges.length), [2, 3]);
    for (const { ranges, code } of products) {
      const places = ranges.map(({ kind, index, offset }) => `${kind} ${index} ${offset}`);
      assertEquals(new Set(places).size, places.length);
      assert(!/\bb\[/.test(code) || ranges.length === 3);
    }
  }
});
