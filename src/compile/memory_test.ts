import { assert, assertEquals, assertThrows } from "@std/assert";
import { randomProgram } from "../../tests/random_program.ts";
import { agree, runPlan } from "../../tests/run_plan.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { evaluate } from "../backends/reference/evaluate.ts";
import { LocalgradError } from "../base/errors.ts";
import { type Program, ProgramBuilder, type ValueId } from "../trace/program.ts";
import { compile } from "./compile.ts";
import type { Plan, Target } from "./plan.ts";

/** Plans a program of one donated input p [4, 6] with the results of `build`, and compares those. */
function planDonation(build: (b: ProgramBuilder, p: ValueId) => Record<string, ValueId>): Plan {
  const b = new ProgramBuilder();
  const p = b.input({ shape: [4, 6], dtype: "f32" }, "p", "parameters", true);
  const outputs = Object.entries(build(b, p)).map(([name, value]) =>
    name === "next" ? { value, name, donor: 0 } : { value, name }
  );
  const program = b.finish("donation", outputs);
  const plan = compile(program, referenceTarget, { verify: true });
  const inputs = [Array.from({ length: 24 }, (_, i) => i - 7)];
  assert(agree(runPlan(plan, inputs), evaluate(program, inputs)));
  return plan;
}

const exp = (b: ProgramBuilder, x: ValueId) => b.emit("unary", [x], { fn: "exp" });
const pad = (b: ProgramBuilder, x: ValueId) =>
  b.emit("pad", [x], { low: [0, 1], high: [1, 0], interior: [0, 0] });

Deno.test("a result takes its donor's memory when the old value is not read later", () => {
  assertEquals(planDonation((b, p) => ({ next: exp(b, p) })).donors, [0]);
  assertEquals(planDonation((b, p) => ({ padded: pad(b, p), next: exp(b, p) })).donors, [-1, 0]);
});

Deno.test("a result takes its donor's memory when the same kernel reads the old value element by element", () => {
  const plan = planDonation((b, p) => ({ next: exp(b, p), other: b.emit("unary", [p], { fn: "neg" }) }));
  assertEquals(plan.donors, [0, -1]);
  assertEquals(plan.steps.length, 1);
});

Deno.test("a result has separate memory when the old value is read later, or by the same kernel at other points", () => {
  assertEquals(planDonation((b, p) => ({ next: exp(b, p), padded: pad(b, p) })).donors, [-1, -1]);
  const firstRow = (b: ProgramBuilder, x: ValueId) =>
    b.emit("slice", [x], { starts: [0, 0], limits: [1, 6], strides: [1, 1] });
  const flipped = planDonation((b, p) => {
    const row = b.emit("broadcast", [firstRow(b, p)], { shape: [4, 6] });
    return { next: b.emit("binary", [p, row], { fn: "add" }) };
  });
  assertEquals(flipped.donors, [-1]);
});

Deno.test("a donated input that is returned stays where it is; one that is not donated is copied", () => {
  const kept = planDonation((_, p) => ({ next: p }));
  assertEquals([kept.donors, kept.steps.length], [[0], 0]);
  const twice = planDonation((_, p) => ({ next: p, again: p }));
  assertEquals([twice.donors, twice.steps.length], [[0, -1], 1]);
  const copied = planDonation((b, p) => ({ old: p, next: exp(b, p) }));
  assertEquals([copied.donors, copied.memory.breakdown.results], [[-1, 0], 96]);
});

Deno.test("element-wise results are written over operands that nothing needs any more", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [8, 8], dtype: "f32" }, "x");
  let y = x;
  for (let i = 0; i < 5; i++) {
    y = b.emit("matmul", [exp(b, y), x], { transposeA: false, transposeB: false });
  }
  const plan = compile(b.finish("chain", [{ value: y, name: "y" }]), referenceTarget, { verify: true });
  assertEquals(plan.arenaBytes, 2 * 8 * 8 * 4);
});

Deno.test("views share memory", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [8, 8], dtype: "f32" }, "x");
  const y = b.emit("matmul", [x, x], { transposeA: false, transposeB: false });
  const flat = b.emit("reshape", [b.emit("barrier", [y], {})], { shape: [4, 16] });
  const z = b.emit("matmul", [flat, flat], { transposeA: true, transposeB: false });
  const plan = compile(b.finish("views", [{ value: z, name: "z" }]), referenceTarget, { verify: true });
  assertEquals(plan.arenaBytes, 8 * 8 * 4);
  assertEquals(plan.steps.length, 2);
});

Deno.test("the memory report adds up", () => {
  const target: Target = {
    ...referenceTarget,
    alignment: 64,
    workspace: (step) => step.kind === "op" ? 100 : 0,
  };
  for (let seed = 0; seed < 200; seed++) {
    const { program } = randomProgram(seed, 50);
    const plan = compile(program, target);
    const { peakBytes, arenaBytes, breakdown, heldAtPeak, timeline } = plan.memory;
    assertEquals(peakBytes, Object.values(breakdown).reduce((sum, bytes) => sum + bytes, 0));
    assertEquals(arenaBytes, (breakdown.activations ?? 0) + (breakdown.workspace ?? 0));
    assertEquals(timeline.length, plan.steps.length);
    const most = Math.max(0, ...timeline.map(({ liveBytes }) => liveBytes));
    assert(most <= arenaBytes);
    const named = heldAtPeak.reduce((sum, { bytes }) => sum + bytes, 0);
    assert(heldAtPeak.length === 20 ? named <= most : named === most, `${named} of ${most}`);
  }
});

/** Two convolutions of a batch. */
function convolutions(batch: number): Program {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [batch, 8, 8, 4], dtype: "f32" }, "x");
  const w = b.input({ shape: [16, 1, 1, 4], dtype: "f32" }, "w", "parameters");
  b.scope = "layer 1";
  const attrs = { strides: [1, 1], padding: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1 } as const;
  const y = b.emit("conv", [x, w], attrs);
  b.scope = "";
  const sum = b.emit("reduce", [y], { fn: "sum", axes: [0, 1, 2, 3] });
  return b.finish("step", [{ value: sum, name: "sum" }]);
}

Deno.test("compile() refuses a value that is too large, naming it and the batch that fits", () => {
  const target = { ...referenceTarget, name: "small", maxValueBytes: 5 * 8 * 8 * 16 * 4 };
  compile(convolutions(5), target);
  const message = assertThrows(() => compile(convolutions(7), target), LocalgradError).message;
  for (const part of ["result of conv", "f32[7,8,8,16]", "28672 bytes", "layer 1", "small", "at most 5"]) {
    assert(message.includes(part), message);
  }
});

Deno.test("compile() refuses a reduction over more points than kernels count, stored or not", () => {
  const sum = (rows: number) => {
    const builder = new ProgramBuilder();
    const shape = [rows, 65536];
    const index = builder.emit("iota", [], { shape, dtype: "u32", axis: 1 });
    const value = builder.emit("reduce", [index], { fn: "sum", axes: [0, 1] });
    return builder.finish("f", [{ value, name: "y" }]);
  };
  compile(sum(32768), referenceTarget);
  assertThrows(
    () => compile(sum(65537), referenceTarget),
    LocalgradError,
    "f: a reduction goes over 4295032832 points, and kernels count at most 2147483648; reduce parts of it",
  );
});

Deno.test("compile() refuses a total that is too large, naming a batch that fits", () => {
  const target = { ...referenceTarget, name: "small", maxTotalBytes: 100_000 };
  const message = assertThrows(() => compile(convolutions(64), target), LocalgradError).message;
  const fits = Number(message.match(/batch of at most about (\d+)/)?.[1]);
  assert(fits > 1, message);
  compile(convolutions(fits), target);
  assertThrows(() => compile(convolutions(fits + 2), target), LocalgradError);
});

Deno.test("compile() refuses to return a u8 input, which no kernel can write", () => {
  const b = new ProgramBuilder();
  const x = b.input({ shape: [4], dtype: "u8" }, "x");
  const program = b.finish("bytes", [{ value: x, name: "same" }]);
  assertThrows(() => compile(program, referenceTarget), LocalgradError, "same is a u8 input");
});
