import { simplify } from "../src/compile/simplify.ts";
import { hostArrays, sizeOf } from "../src/trace/dtype.ts";
import { type Program, ProgramBuilder, type ValueId } from "../src/trace/program.ts";
import { generatorOf } from "./random_program.ts";

const [ROWS, WIDTH] = [24, 16];
/** Random elements for the inputs of a program. */
export const elementsOf = (program: Program, random: () => number): Float32Array[] =>
  program.inputs.map(({ value }) => {
    const { shape, dtype } = program.values[value];
    return new hostArrays[dtype](sizeOf(shape)).map(() => Math.floor(random() * 33 - 16) / 8) as Float32Array;
  });

/**
 * Layers with their backward pass: products with element-wise work between them, normalised by column, some with a skip
 * connection. The backward pass reads the results in reverse order.
 */
export function thereAndBack(seed: number, layers: number): Program {
  const random = generatorOf(seed);
  const b = new ProgramBuilder();
  const aval = (shape: readonly number[]) => ({ shape, dtype: "f32" } as const);
  const x = b.input(aval([ROWS, WIDTH]), "x");
  const matmul = { transposeA: false, transposeB: false };
  const spread = (row: ValueId) =>
    b.emit("broadcast", [b.emit("reshape", [row], { shape: [1, WIDTH] })], { shape: [ROWS, WIDTH] });
  const splat = (value: number) =>
    b.emit("constant", [], { shape: [ROWS, WIDTH], dtype: "f32", values: [value] });
  const saved: ValueId[] = [];
  const centred: ValueId[] = [];
  const weights: ValueId[] = [];
  let h: ValueId = x;
  for (let i = 0; i < layers; i++) {
    const w = b.input(aval([WIDTH, WIDTH]), `w${i}`, "parameters", true);
    weights.push(w);
    const product = b.emit("matmul", [h, w], matmul);
    const mean = b.emit("reduce", [product], { fn: "max", axes: [0] });
    let y = b.emit("binary", [product, spread(mean)], { fn: "sub" });
    for (let k = Math.floor(random() * 4); k >= 0; k--) {
      const choice = random();
      if (choice < 0.3) y = b.emit("binary", [y, splat(0.25)], { fn: "mul" });
      else if (choice < 0.5) y = b.emit("unary", [y], { fn: "tanh" });
      else if (choice < 0.7) y = b.emit("binary", [y, h], { fn: "add" });
      else if (choice < 0.8) y = b.emit("cast", [b.emit("cast", [y], { dtype: "i32" })], { dtype: "f32" });
      else y = b.emit("binary", [y, splat(0)], { fn: "max" });
    }
    saved.push(h);
    centred.push(b.emit("binary", [product, spread(mean)], { fn: "sub" }));
    h = y;
  }
  let g = b.emit("binary", [h, splat(0.5)], { fn: "mul" });
  const outputs = [];
  for (let i = layers - 1; i >= 0; i--) {
    g = b.emit("binary", [g, b.emit("binary", [centred[i], splat(0.5)], { fn: "mul" })], { fn: "add" });
    const gradient = b.emit("matmul", [saved[i], g], { transposeA: true, transposeB: false });
    const scaled = b.emit("binary", [
      gradient,
      b.emit("constant", [], { shape: [WIDTH, WIDTH], dtype: "f32", values: [0.125] }),
    ], { fn: "mul" });
    const back = b.emit("matmul", [g, weights[i]], { transposeA: false, transposeB: true });
    const positive = b.emit("compare", [saved[i], splat(0)], { fn: "gt" });
    g = b.emit("unary", [b.emit("select", [positive, back, splat(0)], {})], { fn: "tanh" });
    const next = b.emit("binary", [weights[i], scaled], { fn: "sub" });
    outputs.push({ value: next, name: `w${i}`, donor: i + 1 });
  }
  return simplify(b.finish("forward and backward", [...outputs, { value: g, name: "g" }]));
}
