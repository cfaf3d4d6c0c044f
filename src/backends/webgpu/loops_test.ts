import { assert, assertEquals, assertThrows } from "@std/assert";
import { groups, verified, withBackend } from "../../../tests/ops/suite.ts";
import { type Case, checkCases, opCase, runAll } from "../../../tests/ops/check.ts";
import { Random } from "../../../tests/ops/random.ts";
import { skips } from "../../../tests/gate.ts";
import { compile } from "../../compile/compile.ts";
import type { Kernel } from "../../compile/kernel.ts";
import type { Step } from "../../compile/plan.ts";
import { LocalgradError } from "../../base/errors.ts";
import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { OpAttrs, OpName } from "../../trace/ops.ts";
import { ProgramBuilder, type StructuredInstruction } from "../../trace/program.ts";
import { shapeRules } from "../../trace/shape_rules.ts";
import { openWebgpu } from "./backend.ts";
import { iterationsOf, MAX_ITERATIONS } from "./loops.ts";
import { lowerPlan } from "./lower.ts";
import { webgpuTarget, workspaceOf } from "./target.ts";
import { planOf } from "../../../tests/webgpu_adapter.ts";
import { type Variant, variants } from "./variant.ts";

const f32 = (...shape: number[]): Aval => ({ shape, dtype: "f32" });
const i32 = (...shape: number[]): Aval => ({ shape, dtype: "i32" });

Deno.test("iterationsOf() multiplies nested loops, adds consecutive ones, and follows calls", () => {
  const code = `
fn inner(x: i32) -> i32 {
  for (var i = 0; i < 30; i += 4) { // at most 30 / 4
    if (x > i) { continue; }
  }
  return x;
}
fn main() {
  for (var i = 0; i < n; i++) { // at most 5
    for (var j = 0; j < i; j++) { // at most 3
      inner(j);
    }
  }
  for (var i = 0; i < 2; i++) { } // at most 2
}`;
  assertEquals(iterationsOf(code), 5 * (1 + 3 * (1 + 8)) + 2);
  assertThrows(() => iterationsOf("fn main() {\n  while (x) { }\n}"), Error, "no bound");
  assertThrows(() => iterationsOf("fn main() {\n}}"), Error, "more braces");
});

const plain = { strides: [1, 1], dilation: [1, 1], groups: 1 } as const;
const unpadded = [[0, 0], [0, 0]] as const;

/** Ops too long for one invocation, on shapes too large to run in a test. */
const endless: readonly (readonly [OpName, Aval[], OpAttrs[OpName]])[] = [
  ["matmul", [f32(4, 2 ** 24), f32(2 ** 24, 4)], { transposeA: false, transposeB: false }],
  ["conv", [f32(1, 1000, 1000, 8), f32(3, 1000, 1000, 8)], { ...plain, padding: unpadded }],
  ["conv", [f32(1, 3, 3, 10 ** 6), f32(3, 3, 3, 10 ** 6)], { ...plain, padding: unpadded }],
  ["convInputGrad", [f32(1, 1, 1, 8), f32(8, 1000, 1000, 4)], {
    ...{ ...plain, padding: unpadded, inputShape: [1, 1000, 1000, 4] },
  }],
  ["convInputGrad", [f32(1, 1, 1, 10 ** 6), f32(10 ** 6, 3, 3, 4)], {
    ...{ ...plain, padding: unpadded, inputShape: [1, 3, 3, 4] },
  }],
  ["convFilterGrad", [f32(64, 1000, 1000, 1), f32(64, 1000, 1000, 512)], {
    ...{ ...plain, padding: unpadded, filterShape: [512, 1, 1, 1] },
  }],
  ...(["maxPool", "avgPool"] as const).map((op) =>
    [op, [f32(1, 4000, 4000, 4)], { window: [4000, 4000], strides: [1, 1], padding: unpadded }] as const
  ).map(([op, avals, attrs]) => [op, [...avals], attrs] as [OpName, Aval[], OpAttrs[OpName]]),
  ["maxPoolGrad", [f32(1, 2000, 2000, 4), f32(1, 1001, 1001, 4)], {
    ...{ window: [1000, 1000], strides: [1, 1], padding: unpadded },
  }],
  ["avgPoolGrad", [f32(1, 1001, 1001, 4)], {
    ...{ window: [1000, 1000], strides: [1, 1], padding: unpadded, inputShape: [1, 2000, 2000, 4] },
  }],
  ["resizeGrad", [f32(1, 4000, 4000, 1)], { height: 2, width: 1, alignCorners: false }],
  ["scatterAdd", [f32(10 ** 7, 1), i32(10 ** 7)], { rows: 2 }],
  ["argmax", [f32(2, 10 ** 8)], { axis: 1 }],
];

function iterations(
  step: Step,
  inputs: readonly Aval[],
  outputs: readonly Aval[],
  variant: Variant,
): number[] {
  const plan = planOf(step, inputs, outputs, (step, values) => workspaceOf(step, values, variant));
  return lowerPlan(plan, variant).map((dispatch) => dispatch.iterations);
}

for (const variant of Object.values(variants)) {
  Deno.test(`no kernel for ${variant.kind} loops longer than every adapter allows`, () => {
    for (const [op, avals, attrs] of endless) {
      const result = (shapeRules[op] as (avals: readonly Aval[], attrs: unknown) => Aval)(avals, attrs);
      const instruction = { op, attrs, inputs: avals.map((_, i) => i), output: avals.length, scope: "" };
      const step: Step = { kind: "op", instruction: instruction as unknown as StructuredInstruction };
      const counts = iterations(step, avals, [result], variant);
      assert(counts.length > 1, `${op} is one dispatch`);
      assert(counts.every((count) => count <= MAX_ITERATIONS), `${op}: ${counts}`);
    }
    for (const [space, axes] of [[[2 ** 31], [0]], [[2 ** 30, 2], [0]], [[5, 2 ** 27], [1]]]) {
      const kernel: Kernel = {
        ...{ space, inputs: [0], stores: [] },
        nodes: [
          { kind: "load", input: 0, view: { offset: 0, strides: space.map(() => 1) }, dtype: "f32" },
          { kind: "constant", value: 3, dtype: "f32" },
          { kind: "binary", fn: "rem", args: [0, 1], dtype: "f32" },
        ],
        reduce: {
          ...{ axes, reductions: [{ fn: "sum", node: 2, dtype: "f32" }], stores: [{ node: 0, output: 1 }] },
          epilogue: [{ kind: "reduced", index: 0, dtype: "f32" }],
        },
      };
      const result = f32(...space.filter((_, axis) => !axes.includes(axis)));
      const counts = iterations({ kind: "kernel", kernel, scope: "" }, [f32(2 ** 31)], [result], variant);
      assert(counts.length > 2 && counts.every((count) => count <= MAX_ITERATIONS), String(counts));
    }
  });
}

Deno.test("a sum over more points than indices reach is refused before WebGPU sees it", () => {
  const builder = new ProgramBuilder();
  const shape = [2 ** 16, 2 ** 17];
  const x = builder.input({ shape: [1, 2 ** 17], dtype: "f32" }, "x");
  const value = builder.emit("reduce", [
    builder.emit("unary", [
      builder.emit("binary", [
        builder.emit("broadcast", [x], { shape }),
        builder.emit("iota", [], { shape, dtype: "f32", axis: 0 }),
      ], { fn: "mul" }),
    ], { fn: "sin" }),
  ], { fn: "sum", axes: [0, 1] });
  const program = builder.finish("vast", [{ value, name: "y" }]);
  assertThrows(() => compile(program, webgpuTarget), LocalgradError, "points");
});

const ignore = await skips("webgpu", openWebgpu);

/** The ops with loops; most of their cases are too long for runs of eight terms. */
const looping = [
  "reductions",
  "argmax",
  "matmul",
  "pooling and its gradients",
  "resize and its gradient",
  "scatterAdd",
];

for (const variant of Object.values(variants)) {
  Deno.test(`webgpu, kernels for ${variant.kind}: work split into parts equals the reference's`, {
    ignore,
  }, async () => {
    const random = new Random(1);
    const some = groups["convolution and its gradients"](random).filter((_, i) => i % 6 === 0);
    const cases = [
      ...looping.flatMap((group) => groups[group](random)).filter((_, i) => i % 3 === 0),
      ...some,
    ];
    await withBackend(
      () => openWebgpu({ ...variant, run: 8 }),
      (backend) => checkCases(backend, cases, verified),
    );
  });
}

/** Cases that tests/ops/cases/long.ts lacks. */
function longCases(random: Random): Case[] {
  const pool = { window: [300, 300], strides: [1, 1], padding: unpadded } as const;
  const image = f32(1, 300, 300, 1), one = f32(1, 1, 1, 1);
  const few = () => Float32Array.from(random.floats(sizeOf(image.shape), 0.1, 0.9));
  return [
    opCase("maxPoolGrad", [image, one], pool, [few().with(89_990, 2), Float32Array.of(1)]),
    opCase("conv", [image, image], { ...plain, padding: unpadded }, [few(), few()]),
  ];
}

Deno.test(
  "webgpu: long sums and searches are not cut short",
  { ignore },
  () => withBackend(openWebgpu, (backend) => checkCases(backend, longCases(new Random(1)), verified)),
);

Deno.test(
  "webgpu: sums of columns of nine million rows",
  { ignore },
  () =>
    withBackend(openWebgpu, async (backend) => {
      const shape = [9_000_000, 2];
      const data = new Float32Array(sizeOf(shape)).fill(1);
      const { program, inputs } = opCase("reduce", [f32(...shape)], { fn: "sum", axes: [0] }, [data]);
      const [result] = await runAll(backend, [() => ({ plan: verified(program, backend.target), inputs })]);
      if (result instanceof Error) throw result;
      assertEquals([...result[0]], [9_000_000, 9_000_000]);
    }),
);
