import { type Case, opCase } from "../check.ts";
import { aval, f32, type Random } from "../random.ts";
import type { PoolAttrs } from "../../../src/trace/ops.ts";
import { ProgramBuilder } from "../../../src/trace/program.ts";

/** More than 65,535 iterations, the limit of a shader's loops in some drivers. */
const LONG = 70_000;

/** Ops along axes too long for a single invocation. */
export function longCases(random: Random): Case[] {
  const image = f32(1, 260, 260, 3),
    whole: PoolAttrs = { window: [260, 260], strides: [1, 1], padding: NONE };
  const pixels = random.floats(260 * 260 * 3, 0.1, 0.9);
  pixels[260 * 260 * 3 - 5] = 2; // the largest is among the last
  const one = f32(1, 1, 1, 3);
  const peak = Float32Array.from({ length: 2 * LONG }, (_, i) => i % LONG === LONG - 10 ? 2 : 1);
  const missing = peak.with(LONG - 20, NaN);
  const updates = f32(LONG, 3), indices = aval("i32", [LONG]);
  const tenths = random.floats(3 * LONG, 0.05, 0.15);
  const [a, b] = [f32(2, LONG), f32(LONG, 3)];
  const positive = (count: number) => random.floats(count, 0.1, 0.9);
  const conv = { strides: [1, 1], padding: NONE, dilation: [1, 1], groups: 1 } as const;
  const [wide, gradient] = [f32(1, 264, 264, 1), f32(1, 262, 262, 2)];
  return [
    opCase("argmax", [f32(2, LONG)], { axis: 1 }, [peak]),
    opCase("argmax", [f32(LONG, 2)], { axis: 0 }, [missing]),
    opCase("maxPool", [image], whole, [pixels]),
    opCase("maxPoolPick", [image, image], whole, [pixels, random.elements(image)]),
    opCase("avgPool", [image], whole, [pixels]),
    opCase("avgPoolGrad", [one], { ...whole, inputShape: image.shape }, [random.elements(one)]),
    opCase("resizeGrad", [image], { height: 1, width: 1, alignCorners: false }, [pixels]),
    opCase("scatterAdd", [updates, indices], { rows: 1 }, [tenths, new Int32Array(LONG)]),
    opCase("scatterAdd", [updates, indices], { rows: 4 }, [tenths, Int32Array.from(random.ints(LONG, 0, 3))]),
    opCase("matmul", [a, b], { transposeA: false, transposeB: false }, [
      positive(2 * LONG),
      positive(3 * LONG),
    ]),
    opCase("conv", [f32(1, 1, 1, LONG), f32(2, 1, 1, LONG)], conv, [positive(LONG), positive(2 * LONG)]),
    opCase("convFilterGrad", [wide, gradient], { ...conv, filterShape: [2, 3, 3, 1] }, [
      positive(264 * 264),
      positive(2 * 262 * 262),
    ]),
    opCase("reduce", [f32(2 ** 19, 2)], { fn: "sum", axes: [0] }, [positive(2 ** 20)]),
  ];
}

const NONE = [[0, 0], [0, 0]] as const;

/** The sum of 2²⁵ odd or even bits that are never in memory: one kernel generates and adds them. */
export function unstoredSum(): Case {
  const builder = new ProgramBuilder();
  const shape = [2 ** 25];
  const index = builder.emit("iota", [], { shape, dtype: "u32", axis: 0 });
  const bit = builder.emit("constant", [], { shape, dtype: "u32", values: [1] });
  const value = builder.emit("reduce", [builder.emit("binary", [index, bit], { fn: "and" })], {
    fn: "sum",
    axes: [0],
  });
  return {
    label: "sum of 2²⁵ bits",
    program: builder.finish("bits", [{ value, name: "y0" }]),
    inputs: [],
  };
}
