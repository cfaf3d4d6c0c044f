import { at } from "../../base/at.ts";
import { sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import { padAxes, paddedExtent } from "../pad_axes.ts";
import { type Argument, type Call, valueArgument } from "./call.ts";
import { callTemplate, lanesIn, type Values } from "./template.ts";

/** A value that is only moved, as words of 4 bytes, or 2 for bf16. */
function words(values: Values, id: number, written = false): Argument {
  return valueArgument(id, at(values, id).dtype === "bf16" ? "bf16" : "u32", written);
}

/** Operands joined along an axis: one copy for each operand. */
export function concat({ attrs: { axis }, inputs, output }: InstructionOf<"concat">, values: Values): Call[] {
  const row = sizeOf(at(values, output).shape.slice(axis));
  let offset = 0;
  return inputs.map((id) => {
    const value = at(values, id), { shape } = value;
    const columns = sizeOf(shape.slice(axis));
    const lanes = Math.min(...[row, offset, columns].map((extent) => lanesIn(extent, value)));
    const geometry = { columns, row, offset, lanes };
    offset += columns;
    return callTemplate("concat", "copy_block<G>", geometry, sizeOf(shape) / lanes, [
      words(values, id),
      words(values, output, true),
    ]);
  });
}

/** Zeros around an operand and between its elements. */
export function pad({ attrs, inputs, output }: InstructionOf<"pad">, values: Values): Call[] {
  const axes = padAxes(at(values, inputs[0]).shape, attrs);
  const inner = at(axes, axes.length - 1);
  const lanes = inner.low === 0 && inner.high === 0 && inner.interior === 0
    ? lanesIn(inner.extent, at(values, output))
    : 1;
  inner.extent /= lanes;
  const strides = stridesOf(axes.map(({ extent }) => extent));
  return [callTemplate(
    "pad",
    "pad<G>",
    { rank: axes.length, lanes },
    sizeOf(at(values, output).shape) / lanes,
    [words(values, inputs[0]), words(values, output, true)],
    [
      perAxis("shape", axes.map(paddedExtent)),
      perAxis("low", axes.map(({ low }) => low)),
      perAxis("step", axes.map(({ interior }) => interior + 1)),
      perAxis("extent", axes.map(({ extent }) => extent)),
      perAxis("stride", strides),
    ],
  )];
}

/** A member function of a geometry that returns a constant for each axis. */
function perAxis(name: string, constants: readonly number[]): string {
  const last = constants.length - 1;
  const chain = constants.map((value, axis) => axis < last ? `a == ${axis} ? ${value}u : ` : `${value}u`)
    .join("");
  return `static DEVICE u32 ${name}(int ${last > 0 ? "a" : ""}) { return ${chain}; }`;
}
