import { at } from "../base/at.ts";
import { effectsOf, hashOf } from "./collectives.ts";
import { formatAval, sameShape } from "../trace/dtype.ts";
import type { OpName } from "../trace/ops.ts";
import type { InstructionOf, Program, ValueId } from "../trace/program.ts";
import { shapeRules } from "../trace/shape_rules.ts";

/** Checks that a program is well formed: single assignment, operands before use, shapes by the rules of its ops. */
export function verifyProgram(program: Program): void {
  const { name, values, inputs, instructions, outputs } = program;
  const fail = (why: string): never => {
    throw new Error(`${name} is not a well-formed program: ${why}`);
  };
  const defined = new Set<ValueId>();
  const define = (value: ValueId, by: string) => {
    if (!(value >= 0 && value < values.length)) fail(`${by} makes %${value}, and there is no such value`);
    if (defined.has(value)) fail(`%${value} is made twice, the second time by ${by}`);
    defined.add(value);
  };
  const verify = <N extends OpName>({ op, attrs, inputs, output }: InstructionOf<N>) => {
    for (const input of inputs) if (!defined.has(input)) fail(`${op} reads %${input} before it is made`);
    const expected = shapeRules[op](inputs.map((input) => at(values, input)), attrs);
    define(output, op);
    const aval = at(values, output);
    if (aval.dtype !== expected.dtype || !sameShape(aval.shape, expected.shape)) {
      fail(`%${output} = ${op} is recorded as ${formatAval(aval)}, but is ${formatAval(expected)}`);
    }
  };
  for (const input of inputs) define(input.value, `input ${input.name}`);
  for (const instruction of instructions) verify(instruction);
  for (const output of outputs) {
    if (!defined.has(output.value)) fail(`result ${output.name} is %${output.value}, which is never made`);
    if (output.donor !== undefined && inputs[output.donor]?.donated !== true) {
      fail(`result ${output.name} is to take the memory of input ${output.donor}, which is not donated`);
    }
  }
}

/** Checks that a pass has kept every exchange with other processes in its order, but for those in groups of one. */
export function verifyExchanges(program: Program, traced: Program, alone: ReadonlySet<string>): void {
  const effects = effectsOf(traced).filter(({ group }) => !alone.has(group));
  if (hashOf(effectsOf(program)) === hashOf(effects)) return;
  throw new Error(`${program.name}: a pass has changed the exchanges with other processes, or their order`);
}
