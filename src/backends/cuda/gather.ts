import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import type { Call } from "./call.ts";
import { callTemplate, lanesIn, operand, result, type Values } from "./template.ts";

/** Rows of a table, selected by index. */
export function gather({ inputs, output }: InstructionOf<"gather">, values: Values): Call[] {
  const table = at(values, inputs[0]), indices = at(values, inputs[1]);
  const columns = sizeOf(table.shape.slice(1));
  const lanes = lanesIn(columns, table);
  return [callTemplate(
    "gather",
    "gather<G>",
    { rows: at(table.shape, 0), columns, lanes },
    sizeOf(indices.shape) * columns / lanes,
    [...inputs.map((id) => operand(values, id)), result(values, output)],
  )];
}
