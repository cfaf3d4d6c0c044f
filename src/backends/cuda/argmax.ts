import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import type { Call } from "./call.ts";
import { callTemplate, operand, result, type Values } from "./template.ts";

/** The index of the first maximum along an axis. */
export function argmax(
  { attrs: { axis }, inputs, output }: InstructionOf<"argmax">,
  values: Values,
): Call[] {
  const { shape } = at(values, inputs[0]);
  return [callTemplate(
    "argmax",
    "arg_max<G>",
    { extent: at(shape, axis), inner: sizeOf(shape.slice(axis + 1)) },
    sizeOf(at(values, output).shape),
    [operand(values, inputs[0]), result(values, output)],
  )];
}
