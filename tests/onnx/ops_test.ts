/** Every op as ONNX Runtime computes it, compared with the reference. */

import { assertEquals, assertThrows } from "@std/assert";
import { opRules } from "../../src/backends/reference/ops.ts";
import { LocalgradError } from "../../src/base/errors.ts";
import { lower } from "../../src/onnx/lower.ts";
import { modelOf } from "../../src/onnx/onnx_file.ts";
import { recordingOf } from "../../src/onnx/record.ts";
import { isCollective, type OpName } from "../../src/trace/ops.ts";
import type { Program } from "../../src/trace/program.ts";
import { evaluateBounded } from "../ops/bounds.ts";
import { type Case, difference } from "../ops/check.ts";
import { Random } from "../ops/random.ts";
import { groups } from "../ops/suite.ts";
import { runModels, skipsRuntime } from "./runtime.ts";

const ignore = skipsRuntime();

/** Ops that evaluation does not need, with what the refusal says. */
const refused: { readonly [N in OpName]?: string } = {
  randomBits: "it draws random numbers",
  convFilterGrad: "it is a gradient",
  maxPoolGrad: "it is a gradient",
  maxPoolPick: "it is a gradient",
  avgPoolGrad: "it is a gradient",
  resizeGrad: "it is a gradient",
};

/** Ops for which ONNX Runtime has its own results where an operand is NaN or infinite. */
const ordering: readonly OpName[] = ["reduce", "argmax", "maxPool"];

function modelFor(program: Program): Uint8Array {
  const { graph, outputs } = lower(recordingOf([program], [1]), new Map());
  return modelOf(graph.finish("case", outputs), []);
}

function isOrdinary({ program, inputs }: Case): boolean {
  return !program.instructions.some(({ op }) => ordering.includes(op)) ||
    inputs.every((data) => data.every((x: number) => Number.isFinite(x)));
}

Deno.test("ONNX Runtime computes every op as the reference does", { ignore }, async () => {
  const cases = Object.entries(groups).filter(([group]) => group !== "long reductions")
    .flatMap(([, make]) => make(new Random(1)));
  const seen = new Set<OpName>();
  const models: { readonly of: Case; readonly model: Uint8Array }[] = [];
  for (const of of cases) {
    const { program, label } = of;
    const { op } = program.instructions[0];
    seen.add(op);
    const reason = refused[op];
    if (reason !== undefined) {
      assertThrows(() => modelFor(program), LocalgradError, `${op} cannot be exported: ${reason}`, label);
    } else if (isOrdinary(of)) models.push({ of, model: modelFor(program) });
  }
  // Collective ops need several processes; src/onnx/lower.ts refuses each.
  const ops = (Object.keys(opRules) as OpName[]).filter((op) => !isCollective(op));
  assertEquals([...seen].sort(), ops.sort());
  const reports = await runModels(models.map(({ of: { program, inputs }, model }) => ({
    model,
    runs: [Object.fromEntries(program.inputs.map(({ name, value }, i) => {
      const { shape, dtype } = program.values[value];
      return [name, { shape, data: inputs[i], bool: dtype === "bool" }];
    }))],
  })));
  const faults = reports.flatMap((report, i) => {
    const { label, program, inputs } = models[i].of;
    if (report instanceof Error) return [`${label}: ${report.message}`];
    return evaluateBounded(program, inputs).flatMap((bounded, output) => {
      const fault = difference(report.outputs[0][output].data, bounded);
      return fault === undefined ? [] : [`${label}: ${fault}`];
    });
  });
  assertEquals(faults, []);
});
