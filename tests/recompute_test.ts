import { imageInput } from "../src/models/model.ts";
import { assert, assertEquals } from "@std/assert";
import type { Backend, Opened } from "../src/backends/backend.ts";
import { openCpu } from "../src/backends/cpu/backend.ts";
import { openReference } from "../src/backends/reference/backend.ts";
import { referenceTarget } from "../src/backends/reference/target.ts";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import { compile, placeInMemory, sequenceSteps } from "../src/compile/compile.ts";
import { draftPlan } from "../src/compile/draft_plan.ts";
import type { Plan, Target } from "../src/compile/plan.ts";
import { recompute } from "../src/compile/recompute.ts";
import { simplify } from "../src/compile/simplify.ts";
import type { StepSequence } from "../src/compile/step_sequence.ts";
import { verifyPlan } from "../src/compile/verify_plan.ts";
import { verifyProgram } from "../src/compile/verify_program.ts";
import { dgl } from "../src/local/methods/dgl.ts";
import { endToEnd } from "../src/local/methods/end_to_end.ts";
import { man } from "../src/local/methods/man.ts";
import { resnet8 } from "../src/models.ts";
import { sgd } from "../src/optim.ts";
import { Device, type DeviceArray } from "../src/runtime/arrays.ts";
import { hostArrays, type HostData, sizeOf } from "../src/trace/dtype.ts";
import { type Program, ProgramBuilder, type ValueId } from "../src/trace/program.ts";
import { treeLeaves } from "../src/trace/tree.ts";
import { trainer } from "../src/training/trainer.ts";
import { skips } from "./gate.ts";
import { assertSameBits, type Run, runAll } from "./ops/check.ts";
import { withBackend } from "./ops/suite.ts";
import { generatorOf, randomProgram } from "./random_program.ts";
import { tinyModel } from "./tiny.ts";

const [ROWS, WIDTH] = [24, 16];
const inputs = (program: Program, random: () => number) =>
  program.inputs.map(({ value }) => {
    const { shape, dtype } = program.values[value];
    return new hostArrays[dtype](sizeOf(shape)).map(() => Math.floor(random() * 33 - 16) / 8) as Float32Array;
  });

/**
 * Layers with their backward pass: products with element-wise work between them, normalised by column, some with a skip
 * connection. The backward pass reads the results in reverse order.
 */
function thereAndBack(seed: number, layers: number): Program {
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

function sequenced(program: Program, { maxKernelBuffers }: Target): StepSequence {
  return sequenceSteps(draftPlan(program, maxKernelBuffers), maxKernelBuffers);
}

/** A plan with every possible recomputation, whether or not that lowers its peak. */
function recomputed(program: Program, target: Target): Plan | undefined {
  const again = recompute(sequenced(simplify(program), target), "cheap");
  if (again === undefined) return undefined;
  verifyProgram(again);
  const plan = placeInMemory(sequenced(again, target).draft, target);
  verifyPlan(plan, target, again);
  return plan;
}

Deno.test("recompute lowers the peak of forward and backward passes, at the cost that it reports", () => {
  for (let seed = 0; seed < 20; seed++) {
    const program = thereAndBack(seed, 12);
    const plain = compile(program, referenceTarget);
    const lean = compile(program, referenceTarget, { recompute: true, verify: true });
    assert(lean.memory.arenaBytes < 0.8 * plain.memory.arenaBytes, `seed ${seed}`);
    const { operations, of } = lean.memory.recompute!;
    assert(operations > 0 && operations < of.operations, `seed ${seed}: ${operations} of ${of.operations}`);
  }
});

Deno.test("recompute does not change programs whose peak it cannot lower", () => {
  for (let seed = 0; seed < 300; seed++) {
    const { program } = randomProgram(seed, 10 + seed % 60);
    const plain = compile(program, referenceTarget);
    const lean = compile(program, referenceTarget, { recompute: true, verify: true });
    assert(lean.memory.peakBytes <= plain.memory.peakBytes, `seed ${seed}`);
    if (lean.memory.peakBytes === plain.memory.peakBytes) assertEquals(lean, plain, `seed ${seed}`);
  }
});

async function suite(name: string, open: () => Opened | Promise<Opened>): Promise<void> {
  const ignore = name === "webgpu" && await skips(name, open);
  Deno.test(
    `${name}: recomputation keeps the bits of random programs`,
    { ignore },
    () =>
      withBackend(open, async (backend: Backend) => {
        const random = generatorOf(5);
        const pairs: [Run, Run][] = [];
        const add = (program: Program) => {
          const lean = recomputed(program, backend.target);
          if (lean === undefined) return;
          const given = inputs(program, random);
          pairs.push([{ plan: compile(program, backend.target), inputs: given }, {
            plan: lean,
            inputs: given,
          }]);
        };
        const count = name === "webgpu" ? 12 : 40; // its shaders compile slowly
        for (let seed = 0; seed < count; seed++) add(thereAndBack(seed, 3 + seed % 8));
        for (let seed = 0; seed < 300; seed++) add(randomProgram(seed, 80).program);
        assert(pairs.length >= count, `only ${pairs.length} programs recompute anything`);
        const results = [0, 1].map((which) => runAll(backend, pairs.map((pair) => () => pair[which])));
        const [plain, lean] = [await results[0], await results[1]];
        assertSameBits(lean, plain);
      }),
  );

  Deno.test(`${name}: recomputation keeps the bits of training steps`, { ignore }, async () => {
    const opened = await open();
    if (!("backend" in opened)) throw new Error(opened.reason);
    await using device = new Device(opened.backend, name);
    const [model, batch] = name === "reference" ? [tinyModel(8), 4] : [resnet8(), 8];
    const { height, width, channels } = imageInput("the test", model);
    const random = generatorOf(1);
    const pixels = Array.from({ length: batch * height * width * channels }, () => random() - 0.5);
    using x = device.array(pixels, [batch, height, width, channels]);
    const labels = Int32Array.from({ length: batch }, (_, i) => i);
    // Recomputation must use the old values of the average, although it has moved since.
    const moving = man(dgl(), { moves: "beforeBackward", momentum: 0.5, start: "random" });
    for (const [modules, method] of [[1, endToEnd()], [3, man(dgl())], [3, moving]] as const) {
      const runs: HostData[][] = [];
      for (const recompute of [false, true]) {
        const optimizer = sgd({ momentum: 0.9, weightDecay: 1e-4 });
        using run = await trainer({ device, model, modules, method, optimizer, batch, recompute });
        assertEquals(run.memory.method.recompute !== undefined, recompute, method.name);
        for (let i = 0; i < 2; i++) await run.step({ x, labels });
        const leaves = treeLeaves<DeviceArray>(run.variables as never);
        runs.push(await Promise.all(leaves.map((leaf) => leaf.read())));
      }
      assertSameBits([runs[1]], [runs[0]]);
    }
  });
}

await suite("reference", () => openReference());
await suite("cpu", () => openCpu());
await suite("webgpu", () => openWebgpu());
