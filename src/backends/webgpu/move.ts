import { sizeOf, stridesOf } from "../../trace/dtype.ts";
import { at } from "../../base/at.ts";
import concatText from "../../../kernels/webgpu/concat.wgsl" with { type: "text" };
import padText from "../../../kernels/webgpu/pad.wgsl" with { type: "text" };
import { padAxes, type PadAxis, paddedExtent } from "../pad_axes.ts";
import { type Call, typeOf } from "./call.ts";
import type { Operation } from "./operation.ts";
import { specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

/** Joins operands along an axis, one copy for each. */
export function concat(i: Operation<"concat">, variant: Variant): Call[] {
  const row = sizeOf(i.result.shape.slice(i.attrs.axis));
  let offset = 0;
  return i.operands.map(({ shape }, operand) => {
    const columns = sizeOf(shape.slice(i.attrs.axis));
    const lanes = [row, offset, columns].every((extent) => extent % 4 === 0) ? 4 : 1;
    const type = typeOf("u32", lanes);
    const constants = { COLUMNS: columns / lanes, ROW: row / lanes, OFFSET: offset / lanes, LANES: lanes };
    offset += columns;
    return {
      label: "concat",
      text: specialise(concatText, constants),
      bindings: [
        { name: "x", type, slot: at(i.inputs, operand), write: false },
        { name: "y", type, slot: i.output, write: true },
      ],
      count: sizeOf(shape) / lanes,
      group: variant.group,
    };
  });
}

/** Puts zeros around and between elements. */
export function pad(i: Operation<"pad">, variant: Variant): Call[] {
  const axes = padAxes(i.operands[0].shape, i.attrs);
  const inner = at(axes, axes.length - 1);
  const plain = inner.low === 0 && inner.high === 0 && inner.interior === 0;
  const lanes = plain && inner.extent % 4 === 0 ? 4 : 1;
  if (lanes === 4) inner.extent /= 4;
  const list = (of: (axis: PadAxis, index: number) => number) =>
    `array<i32, ${axes.length}>(${axes.map(of).join(", ")})`;
  const strides = stridesOf(axes.map((axis) => axis.extent));
  const type = typeOf("u32", lanes);
  return [{
    label: "pad",
    text: specialise(padText, {
      ...{ RANK: axes.length, LANES: lanes, T: type },
      ...{ SHAPE: list(paddedExtent), LOW: list((a) => a.low), STEP: list((a) => a.interior + 1) },
      ...{ EXTENT: list((a) => a.extent), STRIDE: list((_, index) => at(strides, index)) },
    }),
    bindings: [
      { name: "x", type, slot: i.inputs[0], write: false },
      { name: "y", type, slot: i.output, write: true },
    ],
    count: sizeOf(i.result.shape) / lanes,
    group: variant.group,
  }];
}
