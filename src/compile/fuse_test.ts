import { assert, assertEquals } from "@std/assert";
import { agree, runPlan } from "../../tests/run_plan.ts";
import { valueAndGrad } from "../autograd/grad.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { evaluate } from "../backends/reference/evaluate.ts";
import { batchNorm } from "../nn/batch_norm.ts";
import type { Named } from "../nn/named.ts";
import { jit } from "../runtime/jit.ts";
import { type Aval, sizeOf } from "../trace/dtype.ts";
import { conv2d } from "../trace/functions.ts";
import { type Program, ProgramBuilder, type ValueId } from "../trace/program.ts";
import type { Tensor } from "../trace/tensor.ts";
import { compile } from "./compile.ts";
import type { Kernel } from "./kernel.ts";
import type { Plan } from "./plan.ts";

function kernelsOf(plan: Plan): Kernel[] {
  return plan.steps.flatMap((step) => step.kind === "kernel" ? [step.kernel] : []);
}

function outputsOf({ stores, reduce }: Kernel): ValueId[] {
  return [...stores, ...reduce?.stores ?? []].map(({ output }) => output);
}

const f32 = (...shape: number[]): Aval => ({ shape, dtype: "f32" });

/** Gradients of conv → batch norm → ReLU → conv, with respect to everything. */
function batchNormProgram(batch: number): Program {
  const layer = batchNorm({ channels: 8 });
  const step = jit((params: Named<Tensor>, state: Named<Tensor>, image: Tensor) =>
    valueAndGrad((params: Named<Tensor>) => {
      const first = conv2d(image, params["first"] as Tensor, { padding: 1 });
      const { y, state: after } = layer.apply(params["norm"] as Named<Tensor>, state, first, "train");
      const second = conv2d(y.relu(), params["second"] as Tensor, { padding: 1 });
      return [second.mul(second).sum(), after];
    }, { aux: true })(params)
  );
  const norm = { weight: f32(8), bias: f32(8) };
  const params = { first: f32(8, 3, 3, 4), second: f32(8, 3, 3, 8), norm };
  return step.program(params, { running_mean: f32(8), running_var: f32(8) }, f32(batch, 16, 16, 4));
}

Deno.test("compile() takes two passes over a batch norm and its ReLU forward, and two backward", () => {
  const batch = 16;
  const plan = compile(batchNormProgram(batch), referenceTarget, { verify: true });
  const full = batch * 16 * 16 * 8;
  const isFull = (value: ValueId) => sizeOf(plan.values[value].shape) === full;
  const passes = kernelsOf(plan).map((kernel) => ({
    reads: kernel.inputs.filter(isFull).length,
    writes: outputsOf(kernel).filter(isFull).length,
    folds: kernel.reduce?.reductions.length ?? 0,
  }));
  assertEquals(passes, [
    { reads: 1, writes: 0, folds: 2 }, // x: its sums; mean, scale and running statistics are the epilogue
    { reads: 1, writes: 1, folds: 0 }, // x: y, normalised and rectified
    { reads: 1, writes: 1, folds: 1 }, // the second convolution's result: the loss, and its gradient
    { reads: 2, writes: 1, folds: 2 }, // dy, x: dz = dy where y > 0, which is computed again from x; its sums
    { reads: 2, writes: 1, folds: 0 }, // dz, x: dx
  ]);
});

Deno.test("compile() keeps only the operand and the result of a batch norm and its ReLU", () => {
  const batch = 16;
  const plan = compile(batchNormProgram(batch), referenceTarget);
  const bytes = 4 * batch * 16 * 16 * 8;
  const held = plan.memory.heldAtPeak.filter((piece) => piece.bytes === bytes);
  // The operand of the normalisation, and the gradient as it goes through a convolution: the result is not read again.
  assertEquals(held.length, 3);
});

/** Momentum, parameter and a running average of the old parameter; all donated. */
function updateProgram(count: number): Program {
  const b = new ProgramBuilder();
  const shape = [40];
  const rate = b.input({ shape: [], dtype: "f32" }, "rate");
  const groups = Array.from({ length: count }, (_, i) => ({
    p: b.input({ shape, dtype: "f32" }, `p${i}`, "parameters", true),
    v: b.input({ shape, dtype: "f32" }, `v${i}`, "optimizer", true),
    e: b.input({ shape, dtype: "f32" }, `e${i}`, "auxiliary", true),
    g: b.input({ shape, dtype: "f32" }, `g${i}`),
  }));
  const scaled = (x: ValueId, factor: number) =>
    b.emit("binary", [x, b.emit("constant", [], { shape, dtype: "f32", values: [factor] })], { fn: "mul" });
  const add = (x: ValueId, y: ValueId) => b.emit("binary", [x, y], { fn: "add" });
  const averages = groups.map(({ p, e }) => add(scaled(e, 0.995), scaled(p, 0.005)));
  const velocities = groups.map(({ v, g }) => add(scaled(v, 0.9), g));
  const step = b.emit("broadcast", [b.emit("reshape", [rate], { shape: [1] })], { shape });
  const params = groups.map(({ p }, i) =>
    b.emit("binary", [p, b.emit("binary", [velocities[i], step], { fn: "mul" })], { fn: "sub" })
  );
  const outputs = groups.flatMap((_, i) => [
    { value: params[i], name: `p${i}`, donor: 1 + 4 * i },
    { value: velocities[i], name: `v${i}`, donor: 2 + 4 * i },
    { value: averages[i], name: `e${i}`, donor: 3 + 4 * i },
  ]);
  return b.finish("update", outputs);
}

Deno.test("compile() updates a parameter, its momentum and its average in one kernel, in place", () => {
  const program = updateProgram(3);
  const plan = compile(program, { ...referenceTarget, maxKernelBuffers: 8 }, { verify: true });
  assertEquals(kernelsOf(plan).map((kernel) => outputsOf(kernel).length), [3, 3, 3]);
  assertEquals(plan.donors, program.outputs.map(({ donor }) => donor));
  assertEquals(plan.arenaBytes, 0);
  const inputs = program.inputs.map(({ value }, i) =>
    Array.from({ length: sizeOf(program.values[value].shape) }, (_, k) => Math.sin(i * 50 + k))
  );
  assert(agree(runPlan(plan, inputs), evaluate(program, inputs)));
});

Deno.test("compile() fuses small updates of one shape, as far as buffers allow", () => {
  const kernels = kernelsOf(compile(updateProgram(6), { ...referenceTarget, maxKernelBuffers: 30 }));
  assertEquals(kernels.length, 2);
  assert(kernels.every((kernel) => kernel.inputs.length + outputsOf(kernel).length <= 30));
});

Deno.test("compile() never gives a kernel more buffers than allowed, however many values are summed", () => {
  const b = new ProgramBuilder();
  const inputs = Array.from({ length: 40 }, (_, i) => b.input({ shape: [10], dtype: "f32" }, `x${i}`));
  const sum = inputs.reduce((a, x) => b.emit("binary", [a, x], { fn: "add" }));
  const program = b.finish("sum", [{ value: sum, name: "sum" }]);
  for (const maxKernelBuffers of [4, 5, 9, 16]) {
    const target = { ...referenceTarget, maxKernelBuffers };
    const kernels = kernelsOf(compile(program, target, { verify: true }));
    assert(kernels.length <= Math.ceil(39 / (maxKernelBuffers - 3)), `${kernels.length} kernels`);
  }
});

Deno.test("compile() splits expressions that would double with every step", () => {
  const b = new ProgramBuilder();
  let x = b.input({ shape: [10], dtype: "f32" }, "x");
  for (let i = 0; i < 60; i++) x = b.emit("binary", [x, b.emit("unary", [x], { fn: "tanh" })], { fn: "add" });
  const plan = compile(b.finish("chain", [{ value: x, name: "y" }]), referenceTarget, { verify: true });
  assert(kernelsOf(plan).every(({ nodes }) => nodes.length <= 256));
  assert(kernelsOf(plan).length < 20, `${kernelsOf(plan).length} kernels`);
});
