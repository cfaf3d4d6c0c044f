import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import type { Call } from "./call.ts";
import { extentsOf } from "../extents.ts";
import { callTemplate, lanesIn, operand, result, type Values } from "./template.ts";

/** Bilinear resize and its gradient. */
export function resize(
  { op, attrs: { alignCorners }, inputs, output }: InstructionOf<"resize" | "resizeGrad">,
  values: Values,
): Call[] {
  const isGradient = op === "resizeGrad";
  const value = at(values, output);
  const given = extentsOf(at(values, inputs[0]).shape), made = extentsOf(value.shape);
  const [from, to] = isGradient ? [made, given] : [given, made];
  const lanes = lanesIn(from[3], value);
  const scale = (source: number, target: number): string => {
    const ratio = !alignCorners ? source / target : target > 1 ? (source - 1) / (target - 1) : 0;
    return `(float)${ratio}`;
  };
  return [callTemplate(
    op,
    isGradient ? "resize_gradient<G>" : "resize<G>",
    {
      ...{ height: from[1], width: from[2], rows: to[1], columns: to[2] },
      ...{ align_corners: alignCorners, channels: from[3], lanes },
    },
    sizeOf(made) / lanes,
    [operand(values, inputs[0]), result(values, output)],
    [
      `static DEVICE float scale_height() { return ${scale(from[1], to[1])}; }`,
      `static DEVICE float scale_width() { return ${scale(from[2], to[2])}; }`,
    ],
  )];
}
