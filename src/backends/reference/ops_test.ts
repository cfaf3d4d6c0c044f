import { assertAlmostEquals, assertEquals } from "@std/assert";
import { type Aval, type DType, sizeOf } from "../../trace/dtype.ts";
import type { OpAttrs, OpName, Pair } from "../../trace/ops.ts";
import { shapeRules } from "../../trace/shape_rules.ts";
import { applyOp } from "./ops.ts";

/** Runs one op on `[shape, elements]` operands, f32 by default, and returns its elements. */
function run<N extends OpName>(
  op: N,
  operands: readonly [readonly number[], readonly number[], DType?][],
  attrs: OpAttrs[N],
): number[] {
  const inputs = operands.map(([shape, data, dtype]) => ({
    shape,
    dtype: dtype ?? "f32" as const,
    data: Float64Array.from(data),
  }));
  const aval: Aval = shapeRules[op](inputs, attrs);
  const out = { ...aval, data: new Float64Array(sizeOf(aval.shape)).fill(NaN) };
  applyOp(op, out, inputs, attrs);
  return [...out.data];
}

/** 0, 1, … as elements. */
function count(size: number): number[] {
  return Array.from({ length: size }, (_, i) => i);
}

/** Irregular elements. */
function wave(size: number, phase: number): number[] {
  return Array.from({ length: size }, (_, i) => Math.sin(1.7 * i + phase) + 0.3 * Math.cos(5.1 * i * phase));
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, x, i) => sum + x * b[i], 0);
}

const plain = { strides: [1, 1], padding: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1 } as const;

Deno.test("conv() is a cross-correlation: it does not flip the filter", () => {
  const image: [number[], number[]] = [[1, 2, 3, 1], [1, 2, 3, 4, 5, 6]];
  assertEquals(run("conv", [image, [[1, 2, 2, 1], [1, 10, 100, 1000]]], plain), [5421, 6532]);
});

Deno.test("conv() pads, strides and dilates", () => {
  const image: [number[], number[]] = [[1, 1, 5, 1], [1, 2, 3, 4, 5]];
  const filter: [number[], number[]] = [[1, 1, 3, 1], [1, 10, 100]];
  const attrs = { ...plain, padding: [[0, 0], [2, 1]] as [Pair, Pair] };
  assertEquals(run("conv", [image, filter], attrs), [100, 210, 321, 432, 543, 54]);
  assertEquals(run("conv", [image, filter], { ...attrs, strides: [1, 2] }), [100, 321, 543]);
  assertEquals(run("conv", [image, filter], { ...attrs, dilation: [1, 2] }), [310, 420, 531, 42]);
});

Deno.test("conv() keeps groups apart", () => {
  const image: [number[], number[]] = [[1, 1, 1, 4], [1, 2, 3, 4]];
  const filter: [number[], number[]] = [[4, 1, 1, 2], [1, 10, 100, 1000, 1, 10, 100, 1000]];
  assertEquals(run("conv", [image, filter], { ...plain, groups: 2 }), [21, 2100, 43, 4300]);
});

Deno.test("convInputGrad() and convFilterGrad() are the adjoints of conv()", () => {
  const attrs = {
    strides: [2, 1],
    padding: [[1, 0], [2, 1]],
    dilation: [1, 2],
    groups: 2,
  } as const;
  const [imageShape, filterShape] = [[2, 5, 4, 4], [6, 2, 3, 2]];
  const image = wave(sizeOf(imageShape), 0.2);
  const filter = wave(sizeOf(filterShape), 0.9);
  const y = run("conv", [[imageShape, image], [filterShape, filter]], attrs);
  const dyShape = shapeRules.conv([
    { shape: imageShape, dtype: "f32" },
    { shape: filterShape, dtype: "f32" },
  ], attrs).shape;
  const dy = wave(y.length, 0.4);
  const dx = run("convInputGrad", [[dyShape, dy], [filterShape, filter]], {
    ...attrs,
    inputShape: imageShape,
  });
  const dw = run("convFilterGrad", [[imageShape, image], [dyShape, dy]], { ...attrs, filterShape });
  assertAlmostEquals(dot(dx, image), dot(y, dy), 1e-9);
  assertAlmostEquals(dot(dw, filter), dot(y, dy), 1e-9);
});

Deno.test("matmul() transposes either operand and keeps batches apart", () => {
  const flags = { transposeA: false, transposeB: false };
  const a = [1, 2, 3, 4, 5, 6];
  assertEquals(run("matmul", [[[2, 3], a], [[3, 1], [1, 10, 100]]], flags), [321, 654]);
  assertEquals(run("matmul", [[[3, 2], a], [[3, 1], [1, 10, 100]]], { ...flags, transposeA: true }), [
    531,
    642,
  ]);
  assertEquals(run("matmul", [[[2, 3], a], [[1, 3], [1, 10, 100]]], { ...flags, transposeB: true }), [
    321,
    654,
  ]);
  assertEquals(run("matmul", [[[2, 1, 3], a], [[2, 3, 1], [1, 10, 100, 2, 20, 200]]], flags), [321, 1308]);
});

const pool = { window: [2, 2], strides: [2, 2], padding: [[0, 0], [0, 0]] } as const;

Deno.test("maxPool() and its gradients choose the first maximum of a window", () => {
  const image: [number[], number[]] = [[1, 2, 4, 1], [1, 7, 5, 5, 7, 0, 5, 5]];
  assertEquals(run("maxPool", [image], pool), [7, 5]);
  assertEquals(run("maxPoolGrad", [image, [[1, 1, 2, 1], [10, 20]]], pool), [0, 10, 20, 0, 0, 0, 0, 0]);
  assertEquals(run("maxPoolPick", [image, [[1, 2, 4, 1], count(8)]], pool), [1, 2]);
});

Deno.test("maxPool() pads with −∞, avgPool() with zeros that count", () => {
  const attrs = { window: [1, 2], strides: [1, 2], padding: [[0, 0], [1, 1]] } as const;
  const image: [number[], number[]] = [[1, 1, 2, 1], [-4, -6]];
  assertEquals(run("maxPool", [image], attrs), [-4, -6]);
  assertEquals(run("avgPool", [image], attrs), [-2, -3]);
  assertEquals(run("avgPoolGrad", [[[1, 1, 2, 1], [10, 20]]], { ...attrs, inputShape: [1, 1, 2, 1] }), [
    5,
    10,
  ]);
});

Deno.test("maxPoolGrad() adds where windows overlap", () => {
  const attrs = { window: [1, 2], strides: [1, 1], padding: [[0, 0], [0, 0]] } as const;
  const image: [number[], number[]] = [[1, 1, 3, 1], [0, 9, 0]];
  assertEquals(run("maxPoolGrad", [image, [[1, 1, 2, 1], [10, 20]]], attrs), [0, 30, 0]);
});

Deno.test("resize() places pixels as PyTorch does, with and without aligned corners", () => {
  const image: [number[], number[]] = [[1, 1, 2, 1], [1, 2]];
  assertEquals(run("resize", [image], { height: 1, width: 4, alignCorners: false }), [1, 1.25, 1.75, 2]);
  const aligned = run("resize", [image], { height: 1, width: 4, alignCorners: true });
  [1, 4 / 3, 5 / 3, 2].forEach((x, i) => assertAlmostEquals(aligned[i], x, 1e-12));
  const smaller: [number[], number[]] = [[1, 1, 4, 1], [1, 2, 4, 8]];
  assertEquals(run("resize", [smaller], { height: 1, width: 2, alignCorners: false }), [1.5, 6]);
  assertEquals(run("resize", [smaller], { height: 1, width: 1, alignCorners: true }), [1]);
});

Deno.test("resizeGrad() is the adjoint of resize()", () => {
  for (const alignCorners of [false, true]) {
    const image = wave(2 * 5 * 3 * 2, 0.3);
    const y = run("resize", [[[2, 5, 3, 2], image]], { height: 4, width: 7, alignCorners });
    const dy = wave(y.length, 0.8);
    const dx = run("resizeGrad", [[[2, 4, 7, 2], dy]], { height: 5, width: 3, alignCorners });
    assertAlmostEquals(dot(dx, image), dot(y, dy), 1e-9);
  }
});

Deno.test("transpose(), slice(), pad(), concat() and broadcast() put each element where it belongs", () => {
  assertEquals(run("transpose", [[[2, 3], count(6)]], { permutation: [1, 0] }), [0, 3, 1, 4, 2, 5]);
  assertEquals(
    run("transpose", [[[1, 2, 3], count(6)]], { permutation: [2, 0, 1] }), // shape [3, 1, 2]
    [0, 3, 1, 4, 2, 5],
  );
  const slice = { starts: [1, 0], limits: [3, 4], strides: [1, 3] };
  assertEquals(run("slice", [[[3, 4], count(12)]], slice), [4, 7, 8, 11]);
  assertEquals(run("pad", [[[3], [1, 2, 3]]], { low: [1], high: [2], interior: [1] }), [
    0,
    1,
    0,
    2,
    0,
    3,
    0,
    0,
  ]);
  assertEquals(run("concat", [[[2, 1], [1, 2]], [[2, 2], [3, 4, 5, 6]]], { axis: 1 }), [1, 3, 4, 2, 5, 6]);
  assertEquals(run("broadcast", [[[2, 1], [1, 2]]], { shape: [2, 3] }), [1, 1, 1, 2, 2, 2]);
  assertEquals(run("broadcast", [[[1, 2], [1, 2]]], { shape: [3, 2] }), [1, 2, 1, 2, 1, 2]);
});

Deno.test("reduce() reduces the given axes, in any order", () => {
  const operand: [number[], number[]] = [[2, 3, 2], count(12)];
  assertEquals(run("reduce", [operand], { fn: "sum", axes: [1] }), [6, 9, 24, 27]);
  assertEquals(run("reduce", [operand], { fn: "max", axes: [2, 0] }), [7, 9, 11]);
  assertEquals(run("reduce", [operand], { fn: "min", axes: [0, 1, 2] }), [0]);
  assertEquals(run("reduce", [[[0, 2], []]], { fn: "sum", axes: [0] }), [0, 0]);
  assertEquals(run("reduce", [[[2], [2 ** 31 - 1, 1], "i32"]], { fn: "sum", axes: [0] }), [-(2 ** 31)]);
});

Deno.test("argmax() returns the first of equal maxima", () => {
  assertEquals(run("argmax", [[[2, 3], [1, 5, 5, -1, -1, -2]]], { axis: 1 }), [1, 0]);
  assertEquals(run("argmax", [[[2, 3], [1, 5, 5, -1, -1, 9]]], { axis: 0 }), [0, 0, 1]);
});

Deno.test("gather() picks rows and scatterAdd() adds them back, indices clamped", () => {
  const rows: [number[], number[]] = [[3, 2], [1, 2, 3, 4, 5, 6]];
  assertEquals(run("gather", [rows, [[3], [2, -1, 9], "i32"]], {}), [5, 6, 1, 2, 5, 6]);
  assertEquals(
    run("scatterAdd", [[[3, 2], [1, 2, 3, 4, 5, 6]], [[3], [1, 1, 0], "u32"]], { rows: 3 }),
    [5, 6, 4, 6, 0, 0],
  );
});

Deno.test("integers wrap around, shift and divide as in two's complement", () => {
  const i32 = (fn: OpAttrs["binary"]["fn"], a: number, b: number) =>
    run("binary", [[[], [a], "i32"], [[], [b], "i32"]], { fn })[0];
  const u32 = (fn: OpAttrs["binary"]["fn"], a: number, b: number) =>
    run("binary", [[[], [a], "u32"], [[], [b], "u32"]], { fn })[0];
  assertEquals(i32("add", 2 ** 31 - 1, 1), -(2 ** 31));
  assertEquals(u32("sub", 0, 1), 2 ** 32 - 1);
  assertEquals(u32("mul", 0xffffffff, 0xffffffff), 1);
  assertEquals(i32("mul", 0x12345678, 0x1234567), 0xb8c52248 | 0); // the low word of 0x14b66db8c52248
  assertEquals(i32("div", -7, 2), -3);
  assertEquals(u32("div", 2 ** 32 - 1, 2), 2 ** 31 - 1);
  assertEquals(i32("rem", -7, 3), -1);
  assertEquals(i32("shr", -8, 1), -4);
  assertEquals(u32("shr", 2 ** 32 - 8, 1), 2 ** 31 - 4);
  assertEquals(u32("shl", 1, 31), 2 ** 31);
  assertEquals(i32("shl", 1, 31), -(2 ** 31));
  assertEquals(u32("xor", 0xffff0000, 0x0ff00000), 0xf00f0000);
});

Deno.test("not() is logical on bool and bitwise on integers", () => {
  assertEquals(run("unary", [[[2], [0, 1], "bool"]], { fn: "not" }), [1, 0]);
  assertEquals(run("unary", [[[2], [0, 5], "i32"]], { fn: "not" }), [-1, -6]);
  assertEquals(run("unary", [[[1], [0], "u32"]], { fn: "not" }), [2 ** 32 - 1]);
});

Deno.test("cast() truncates toward zero, wraps integers, and converts anything but zero to true", () => {
  assertEquals(run("cast", [[[3], [-1.9, 1.9, NaN]]], { dtype: "i32" }), [-1, 1, 0]);
  assertEquals(run("cast", [[[1], [-1], "i32"]], { dtype: "u32" }), [2 ** 32 - 1]);
  assertEquals(run("cast", [[[1], [2 ** 32 - 1], "u32"]], { dtype: "i32" }), [-1]);
  assertEquals(run("cast", [[[4], [0, -0, 0.1, NaN]]], { dtype: "bool" }), [0, 0, 1, 1]);
  assertEquals(run("cast", [[[2], [0, 200], "u8"]], { dtype: "f32" }), [0, 200]);
});

Deno.test("isFinite(), comparisons and select() handle NaN and infinity", () => {
  const special: [number[], number[]] = [[4], [1, Infinity, -Infinity, NaN]];
  assertEquals(run("unary", [special], { fn: "isFinite" }), [1, 0, 0, 0]);
  assertEquals(run("compare", [special, special], { fn: "eq" }), [1, 1, 1, 0]);
  assertEquals(run("compare", [special, special], { fn: "ne" }), [0, 0, 0, 1]);
  assertEquals(run("compare", [special, [[4], [2, 2, 2, 2]]], { fn: "lt" }), [1, 0, 1, 0]);
  assertEquals(run("select", [[[2], [1, 0], "bool"], [[2], [1, NaN]], [[2], [NaN, 2]]], {}), [1, 2]);
});

Deno.test("constant() and iota() fill a shape", () => {
  assertEquals(run("constant", [], { shape: [2], dtype: "f32", values: [0.1] }), [0.1, 0.1]);
  assertEquals(run("constant", [], { shape: [2], dtype: "u32", values: [2 ** 32 - 1, 2] }), [2 ** 32 - 1, 2]);
  assertEquals(run("iota", [], { shape: [2, 3], dtype: "i32", axis: 1 }), [0, 1, 2, 0, 1, 2]);
  assertEquals(run("iota", [], { shape: [2, 3], dtype: "f32", axis: 0 }), [0, 0, 0, 1, 1, 1]);
});
