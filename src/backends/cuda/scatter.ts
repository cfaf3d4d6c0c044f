import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import type { Call } from "./call.ts";
import { callTemplate, lanesIn, operand, result, type Values } from "./template.ts";

/** Rows of a table, each the sum of the updates with its index. */
export function scatterAdd(
  { attrs: { rows }, inputs, output }: InstructionOf<"scatterAdd">,
  values: Values,
): Call[] {
  const sum = at(values, output), size = sizeOf(sum.shape);
  const columns = size / rows;
  const lanes = lanesIn(columns, sum);
  return [callTemplate(
    "scatterAdd",
    "scatter_add<G>",
    { rows, columns, updates: sizeOf(at(values, inputs[1]).shape), lanes },
    size / lanes,
    [...inputs.map((id) => operand(values, id)), result(values, output)],
  )];
}
