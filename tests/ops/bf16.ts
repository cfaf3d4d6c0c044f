/**
 * The op suite in bf16: the same cases with bf16 in place of f32, for backends that support it.
 *
 * @module
 */
import type { Opened } from "../../src/backends/backend.ts";
import { toBf16 } from "../../src/trace/bf16.ts";
import type { Instruction, ValueId } from "../../src/trace/program.ts";
import { ProgramBuilder } from "../../src/trace/program.ts";
import { skips } from "../gate.ts";
import { type Case, checkCases } from "./check.ts";
import { Random } from "./random.ts";
import { groups, programs, verified, withBackend } from "./suite.ts";

/** A case with every f32 in bf16. Ops over many elements (sums, searches) compute in f32, as `Tensor.sum` does. */
export function inBf16({ label, program, inputs }: Case): Case {
  const builder = new ProgramBuilder();
  const renamed: ValueId[] = [];
  const cast = (value: ValueId, dtype: "f32" | "bf16") =>
    builder.aval(value).dtype === dtype ? value : builder.emit("cast", [value], { dtype });
  program.inputs.forEach(({ value, name, category, donated }) => {
    const { shape, dtype } = program.values[value];
    renamed[value] = builder.input(
      { shape, dtype: dtype === "f32" ? "bf16" : dtype },
      name,
      category,
      donated,
    );
  });
  for (const instruction of program.instructions) {
    const { op, attrs, output } = instruction;
    const operands = instruction.inputs.map((value) => renamed[value]);
    const folds = op === "reduce" || op === "argmax";
    const given = folds && builder.aval(operands[0]).dtype === "bf16" ? [cast(operands[0], "f32")] : operands;
    const made = builder.emit<Instruction["op"]>(op, given, narrowed(op, attrs));
    renamed[output] = builder.aval(made).dtype === "f32" ? cast(made, "bf16") : made;
  }
  return {
    label: `${label} in bf16`,
    program: builder.finish(program.name, program.outputs.map((o) => ({ ...o, value: renamed[o.value] }))),
    inputs: inputs.map((data) => data instanceof Float32Array ? toBf16(data) : data),
  };
}

function narrowed(op: Instruction["op"], attrs: Instruction["attrs"]): Instruction["attrs"] {
  const makes = op === "cast" || op === "constant";
  return makes && "dtype" in attrs && attrs.dtype === "f32" ? { ...attrs, dtype: "bf16" } : attrs;
}

/** Registers the op suite in bf16, compiled; of each group about `most` cases, evenly chosen. Returns whether it is skipped. */
export async function bf16Suite(
  open: () => Opened | Promise<Opened>,
  device: string,
  most: number = Infinity,
): Promise<boolean> {
  const ignore = await skips(device, open);
  for (const [group, cases] of Object.entries({ ...groups, ...programs })) {
    Deno.test(
      `${device}: ${group} in bf16 as the reference rounds them`,
      { ignore },
      () =>
        withBackend(open, async (backend) => {
          const all = cases(new Random(3));
          const step = Math.max(1, Math.floor(all.length / most));
          const chosen = all.filter((_, i) => i % step === 0).map(inBf16);
          await checkCases(backend, chosen, verified);
        }),
    );
  }
  return ignore;
}
