import { at } from "../../base/at.ts";
import type { Aval } from "../../trace/dtype.ts";
import type { OpOperands, StructuredOp } from "../../trace/ops.ts";
import type { InstructionOf } from "../../trace/program.ts";

/** An instruction with the shapes and dtypes of its operands and result. */
export interface Operation<N extends StructuredOp> extends InstructionOf<N> {
  readonly operands: OpOperands<Aval>[N];
  readonly result: Aval;
}

/** Looks up the operands and the result of an instruction among the values of its plan. */
export function operationOf<N extends StructuredOp>(
  instruction: InstructionOf<N>,
  values: readonly Aval[],
): Operation<N> {
  const inputs: readonly number[] = instruction.inputs;
  const operands: readonly Aval[] = inputs.map((value) => at(values, value));
  return {
    ...instruction,
    operands: operands as OpOperands<Aval>[N], // as many as there are inputs
    result: at(values, instruction.output),
  };
}
