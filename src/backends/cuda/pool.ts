import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { PoolAttrs } from "../../trace/ops.ts";
import type { InstructionOf } from "../../trace/program.ts";
import type { Call } from "./call.ts";
import { type Extents, extentsOf } from "../extents.ts";
import { callTemplate, type Geometry, lanesIn, operand, result, type Values } from "./template.ts";
import type { Lanes } from "./tiling.ts";

const templates = {
  maxPool: "max_pool<G>",
  maxPoolPick: "max_pool_pick<G>",
  avgPool: "average_pool<G>",
  maxPoolGrad: "pool_gradient<G, true>",
  avgPoolGrad: "average_pool_gradient<G>",
} as const;

/** Max and average pooling, their gradients to the image, and the values at the maxima. */
export function pool(
  { op, attrs, inputs, output }: InstructionOf<keyof typeof templates>,
  values: Values,
): Call[] {
  const isGradient = op === "maxPoolGrad" || op === "avgPoolGrad";
  const value = at(values, output), { shape } = value;
  const from = at(values, at(inputs, isGradient ? inputs.length - 1 : 0)).shape;
  const [image, pooled] = isGradient
    ? [extentsOf(shape), extentsOf(from)]
    : [extentsOf(from), extentsOf(shape)];
  const lanes = lanesIn(image[3], value);
  return [callTemplate(
    op,
    templates[op],
    geometry(image, pooled, lanes, attrs),
    sizeOf(shape) / lanes,
    [...inputs.map((id) => operand(values, id)), result(values, output)],
  )];
}

function geometry(
  image: Extents,
  pooled: Extents,
  lanes: Lanes,
  { window, strides, padding }: PoolAttrs,
): Geometry {
  return {
    ...{ height: image[1], width: image[2], rows: pooled[1], columns: pooled[2] },
    ...{ window_height: window[0], window_width: window[1] },
    ...{ stride_height: strides[0], stride_width: strides[1] },
    ...{ pad_top: padding[0][0], pad_left: padding[1][0] },
    ...{ channels: image[3], lanes },
  };
}
