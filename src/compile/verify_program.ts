import { formatAval, sameShape } from "../trace/dtype.ts";
import type { OpName } from "../trace/ops.ts";
import type { Program, ValueId } from "../trace/program.ts";
import { shapeRules } from "../trace/shape_rules.ts";
import type { ShapeRule } from "../trace/shapes/rule.ts";

/** Checks that a program is well formed: single assignment, operands before use, shapes by the ops' rules. */
export function verifyProgram(program: Program): void {
  const { name, values, inputs, instructions, outputs } = program;
  const fail = (why: string): never => {
    throw new Error(`${name} is not a well-formed program: ${why}`);
  };
  const defined = new Uint8Array(values.length);
  const define = (value: ValueId, by: string) => {
    if (!(value >= 0 && value < values.length)) fail(`${by} makes %${value}, and there is no such value`);
    if (defined[value] === 1) fail(`%${value} is made twice, the second time by ${by}`);
    defined[value] = 1;
  };
  for (const input of inputs) define(input.value, `input ${input.name}`);
  for (const { op, attrs, inputs, output } of instructions) {
    for (const input of inputs) {
      if (defined[input] !== 1) fail(`${op} reads %${input} before it is made`);
    }
    const rule = shapeRules[op] as ShapeRule<OpName>;
    const expected = rule(inputs.map((input) => values[input]), attrs as never);
    define(output, op);
    const aval = values[output];
    if (aval.dtype !== expected.dtype || !sameShape(aval.shape, expected.shape)) {
      fail(`%${output} = ${op} is noted as ${formatAval(aval)} and is ${formatAval(expected)}`);
    }
  }
  for (const output of outputs) {
    if (defined[output.value] !== 1) fail(`result ${output.name} is %${output.value}, which is never made`);
    if (output.donor !== undefined && inputs[output.donor]?.donated !== true) {
      fail(`result ${output.name} is to take the memory of input ${output.donor}, which is not donated`);
    }
  }
}
