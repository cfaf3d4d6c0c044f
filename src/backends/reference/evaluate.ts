import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { Program } from "../../trace/program.ts";
import { applyOp, type Value } from "./ops.ts";

/**
 * Runs a program one instruction at a time, without the compiler, as the oracle for the compiler. Returns the elements of
 * each result, in float64 whatever the dtype.
 */
export function evaluate(program: Program, inputs: readonly ArrayLike<number>[]): Float64Array[] {
  const values = new Array<Value>(program.values.length);
  program.inputs.forEach(({ value }, i) => {
    values[value] = { ...at(program.values, value), data: Float64Array.from(at(inputs, i)) };
  });
  for (const { op, inputs, output, attrs } of program.instructions) {
    const aval = at(program.values, output);
    const out = { ...aval, data: new Float64Array(sizeOf(aval.shape)) };
    values[output] = out;
    applyOp(op, out, inputs.map((input) => at(values, input)), attrs);
  }
  return program.outputs.map(({ value }) => at(values, value).data);
}
