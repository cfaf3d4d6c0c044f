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
import type { HostData } from "../src/trace/dtype.ts";
import type { Program } from "../src/trace/program.ts";
import { treeLeaves } from "../src/trace/tree.ts";
import { trainer } from "../src/training/trainer.ts";
import { skips } from "./gate.ts";
import { assertSameBits, type Run, runAll } from "./ops/check.ts";
import { withBackend } from "./ops/suite.ts";
import { generatorOf, randomProgram } from "./random_program.ts";
import { elementsOf, thereAndBack } from "./there_and_back.ts";
import { tinyModel } from "./tiny.ts";

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
          const given = elementsOf(program, random);
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
