import type { InstructionOf } from "../../trace/program.ts";
import type { Aval, Shape } from "../../trace/dtype.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { PoolAttrs } from "../../trace/ops.ts";
import poolText from "../../../kernels/webgpu/pool.wgsl" with { type: "text" };
import poolGradText from "../../../kernels/webgpu/pool_grad.wgsl" with { type: "text" };
import resizeText from "../../../kernels/webgpu/resize.wgsl" with { type: "text" };
import type { Call, Slot } from "./call.ts";
import { type Constants, specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

type Values = readonly Aval[];

/** One invocation for each four channels of a result where channels come in fours, for each element otherwise. */
function perChannel(
  label: string,
  text: string,
  constants: Constants,
  operands: Readonly<Record<string, Slot>>,
  output: number,
  values: Values,
  variant: Variant,
): Call {
  const shape = values[output].shape;
  const width = shape[3] % 4 === 0 ? 4 : 1;
  const type = width === 4 ? "vec4f" : "f32";
  return {
    label,
    text: specialise(text, {
      ...constants,
      ...{ T: type, B: width === 4 ? "vec4<bool>" : "bool", WIDTH: width, CHANNELS: shape[3] / width },
    }),
    bindings: [
      ...Object.entries(operands).map(([name, slot]) => ({ name, type, slot, write: false })),
      { name: "y", type, slot: output, write: true },
    ],
    count: sizeOf(shape) / width,
    group: variant.group,
  };
}

function windows(image: Shape, result: Shape, attrs: PoolAttrs): Constants {
  return {
    ...{ H: image[1], W: image[2], P: result[1], Q: result[2] },
    ...{ WINDOW_H: attrs.window[0], WINDOW_W: attrs.window[1] },
    ...{ STRIDE_H: attrs.strides[0], STRIDE_W: attrs.strides[1] },
    ...{ PAD_TOP: attrs.padding[0][0], PAD_LEFT: attrs.padding[1][0] },
  };
}

/** Max and average pooling, and picking at the maxima. */
export function pool(
  i: InstructionOf<"maxPool"> | InstructionOf<"maxPoolPick"> | InstructionOf<"avgPool">,
  values: Values,
  variant: Variant,
): Call[] {
  const [x, v] = i.inputs;
  const constants = {
    ...windows(values[x].shape, values[i.output].shape, i.attrs),
    ...{ AVERAGE: i.op === "avgPool", PICK: i.op === "maxPoolPick", MAXIMUM: i.op !== "avgPool" },
  };
  const operands: Record<string, Slot> = i.op === "maxPoolPick" ? { x, v } : { x };
  return [perChannel(i.op, poolText, constants, operands, i.output, values, variant)];
}

/** Gradients of pooling to the image. */
export function poolGrad(
  i: InstructionOf<"maxPoolGrad"> | InstructionOf<"avgPoolGrad">,
  values: Values,
  variant: Variant,
): Call[] {
  const dy = i.inputs[i.inputs.length - 1];
  const constants = {
    ...windows(values[i.output].shape, values[dy].shape, i.attrs),
    MAXIMUM: i.op === "maxPoolGrad",
  };
  const operands: Record<string, Slot> = i.op === "maxPoolGrad" ? { x: i.inputs[0], dy } : { dy };
  return [perChannel(i.op, poolGradText, constants, operands, i.output, values, variant)];
}

/** Bilinear resize and its gradient. */
export function resize(
  i: InstructionOf<"resize"> | InstructionOf<"resizeGrad">,
  values: Values,
  variant: Variant,
): Call[] {
  const [x] = i.inputs;
  const gradient = i.op === "resizeGrad";
  const [small, large] = gradient
    ? [values[i.output].shape, values[x].shape]
    : [values[x].shape, values[i.output].shape];
  // Position in the small image of pixel i of the large one: (i * UP + SHIFT) / DOWN.
  const map = (axis: "H" | "W", from: number, to: number): Constants =>
    i.attrs.alignCorners
      ? { [`UP_${axis}`]: to > 1 ? from - 1 : 0, [`SHIFT_${axis}`]: 0, [`DOWN_${axis}`]: Math.max(1, to - 1) }
      : { [`UP_${axis}`]: 2 * from, [`SHIFT_${axis}`]: from - to, [`DOWN_${axis}`]: 2 * to };
  const constants = {
    ...{ H: small[1], W: small[2], P: large[1], Q: large[2], GRADIENT: gradient },
    ...map("H", small[1], large[1]),
    ...map("W", small[2], large[2]),
  };
  return [perChannel(i.op, resizeText, constants, { x }, i.output, values, variant)];
}
