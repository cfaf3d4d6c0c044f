import { assert, assertEquals } from "@std/assert";
import { randomProgram } from "../../tests/random_program.ts";
import { agree, runPlan } from "../../tests/run_plan.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { evaluate } from "../backends/reference/evaluate.ts";
import { compile, placeInMemory, sequenceSteps } from "./compile.ts";
import { fuse } from "./fuse.ts";
import { draftPlan } from "./draft_plan.ts";
import { order } from "./order.ts";
import type { Target } from "./plan.ts";
import { StepSequence } from "./step_sequence.ts";
import { simplify } from "./simplify.ts";
import { verifyPlan } from "./verify_plan.ts";
import { verifyProgram } from "./verify_program.ts";

/** A demanding target: aligned, in small segments, with few buffers per kernel, with workspaces. */
const hardTarget: Target = {
  name: "hard",
  precisions: ["f32"],
  alignment: 64,
  maxValueBytes: 1 << 16,
  segmentBytes: 1 << 16,
  maxTotalBytes: Infinity,
  workspace: (step) => step.kind === "op" && step.instruction.op === "conv" ? 1000 : 0,
  maxKernelBuffers: 4,
};

/** Runs `check` on random programs; an error names the seed. */
function onRandomPrograms(
  count: number,
  check: (random: ReturnType<typeof randomProgram>, seed: number) => void,
): void {
  for (let seed = 0; seed < count; seed++) {
    try {
      check(randomProgram(seed, 10 + seed % 60), seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}

for (const target of [referenceTarget, hardTarget]) {
  Deno.test(`compile() keeps the results of random programs, for target ${target.name}`, () => {
    onRandomPrograms(400, ({ program, inputs }) => {
      const plan = compile(program, target, { verify: true });
      assert(agree(runPlan(plan, inputs), evaluate(program, inputs)));
    });
  });
}

Deno.test("every pass keeps the results of random programs", () => {
  onRandomPrograms(250, ({ program, inputs }, seed) => {
    const target = { ...referenceTarget, maxKernelBuffers: 5 + seed % 20 };
    const expected = evaluate(program, inputs);
    const simple = simplify(program);
    verifyProgram(simple);
    assert(agree(evaluate(simple, inputs), expected), "simplify");

    const check = (what: string, sequence: StepSequence) => {
      const plan = placeInMemory(sequence.draft, target);
      verifyPlan(plan, target, simple);
      assert(agree(runPlan(plan, inputs), expected), what);
    };
    check("draft", new StepSequence(draftPlan(simple, target.maxKernelBuffers)));
    const fused = fuse(new StepSequence(draftPlan(simple, target.maxKernelBuffers)), target.maxKernelBuffers);
    check("fuse", fused);
    check("order", order(fused));
  });
});

Deno.test("sequenceSteps() never raises the peak of the steps it starts from", () => {
  onRandomPrograms(600, ({ program }, seed) => {
    const simple = simplify(program);
    const buffers = 5 + seed % 20;
    const before = new StepSequence(draftPlan(simple, buffers)).peak;
    const after = sequenceSteps(draftPlan(simple, buffers), buffers).peak;
    assert(after <= before, `${after} over ${before}`);
  });
});

Deno.test("sequenceSteps() leaves the draft plan as it is", () => {
  onRandomPrograms(100, ({ program }, seed) => {
    const simple = simplify(program);
    const buffers = 5 + seed % 20;
    const draft = draftPlan(simple, buffers);
    sequenceSteps(draft, buffers);
    assertEquals(draft, draftPlan(simple, buffers));
  });
});

Deno.test("compile() gives the same plan every time", () => {
  onRandomPrograms(20, ({ program }) => {
    assertEquals(compile(program, referenceTarget), compile(program, referenceTarget));
  });
});
