import { assert } from "@std/assert";
import { type RandomProgram, randomProgram } from "../../tests/random_program.ts";
import { ReferenceBackend, referenceTarget } from "../backends/reference/backend.ts";
import { evaluate } from "../backends/reference/evaluate.ts";
import { bytesOf } from "../trace/dtype.ts";
import { compile } from "./compile.ts";
import type { Plan, Target } from "./plan.ts";

/** A backend that makes life hard: aligned, in small segments, few buffers a kernel, with workspaces. */
const hardTarget: Target = {
  name: "hard",
  alignment: 64,
  maxValueBytes: 1 << 16,
  segmentBytes: 1 << 16,
  maxTotalBytes: Infinity,
  workspace: (step) => step.kind === "op" && step.instruction.op === "conv" ? 1000 : 0,
  maxKernelBuffers: 4,
};

function run(plan: Plan, inputs: RandomProgram["inputs"]): Float64Array[] {
  const backend = new ReferenceBackend();
  const executable = backend.compile(plan);
  const buffer = (value: number) => backend.allocate(bytesOf(plan.values[value]), plan.values[value].dtype);
  const given = plan.inputs.map(({ value }) => buffer(value));
  inputs.forEach((data, i) => backend.writeFloat64(given[i], data));
  const results = plan.outputs.map(({ value }, i) => plan.donors[i] >= 0 ? undefined : buffer(value));
  executable.run(given, results);
  return results.map((result, i) => backend.readFloat64(result ?? given[plan.donors[i]]));
}

/** Whether two lists of elements agree, but for the rounding of literals to f32. */
function agree(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length &&
    a.every((x, i) => Object.is(x, b[i]) || Math.abs(x - b[i]) <= 1e-6 * (1 + Math.abs(x)));
}

for (const target of [referenceTarget, hardTarget]) {
  Deno.test(`compile() keeps what random programs compute, for target ${target.name}`, () => {
    for (let seed = 0; seed < 300; seed++) {
      const { program, inputs } = randomProgram(seed, 10 + seed % 50);
      const expected = evaluate(program, inputs);
      try {
        const plan = compile(program, target, { verify: true });
        run(plan, inputs).forEach((result, i) => {
          assert(agree(result.subarray(0, expected[i].length), expected[i]), `result ${i} differs`);
        });
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });
}
