import type { InstructionOf } from "../../trace/program.ts";
import { type Aval, sizeOf, stridesOf } from "../../trace/dtype.ts";
import copyText from "../../../kernels/webgpu/copy_block.wgsl" with { type: "text" };
import gatherText from "../../../kernels/webgpu/gather.wgsl" with { type: "text" };
import padText from "../../../kernels/webgpu/pad.wgsl" with { type: "text" };
import scatterText from "../../../kernels/webgpu/scatter_add.wgsl" with { type: "text" };
import { padAxes, type PadAxis, paddedExtent } from "../pad_axes.ts";
import { type Call, stored, typeOf } from "./call.ts";
import { firstMaxima, searchBytes, searchParts, type Windows } from "./maxima.ts";
import { addParts, partBytes, partsOf } from "./parts.ts";
import { specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

type Values = readonly Aval[];

/** Rows picked by index. */
export function gather(i: InstructionOf<"gather">, values: Values, variant: Variant): Call[] {
  const [table, indices] = i.inputs.map((value) => values[value]);
  const columns = sizeOf(table.shape.slice(1));
  const width = columns % 4 === 0 ? 4 : 1;
  const bytes = table.dtype === "u8";
  return [{
    label: "gather",
    text: specialise(gatherText, {
      ...{ ROWS: table.shape[0], COLUMNS: columns / width, WIDTH: width, WIDE: width === 4 },
      ...{ BYTES: bytes, INDEX: stored[indices.dtype] },
    }),
    bindings: [
      {
        name: "table",
        type: bytes ? "u32" : typeOf(stored[table.dtype], width),
        slot: i.inputs[0],
        write: false,
      },
      { name: "indices", type: stored[indices.dtype], slot: i.inputs[1], write: false },
      { name: "y", type: typeOf(stored[values[i.output].dtype], width), slot: i.output, write: true },
    ],
    count: sizeOf(indices.shape) * (columns / width),
    group: variant.group,
  }];
}

function scatterPlan(i: InstructionOf<"scatterAdd">, values: Values, variant: Variant) {
  const size = sizeOf(values[i.output].shape), updates = sizeOf(values[i.inputs[1]].shape);
  const columns = size / i.attrs.rows;
  const width = columns % 4 === 0 ? 4 : 1;
  // Each term is an iteration, where those of products are four to one.
  const parts = partsOf(size / width / variant.group, 4 * updates, size, variant);
  return { size, updates, columns, width, parts };
}

/** Rows added up by index. */
export function scatterAdd(i: InstructionOf<"scatterAdd">, values: Values, variant: Variant): Call[] {
  const { size, updates, columns, width, parts } = scatterPlan(i, values, variant);
  const type = typeOf("f32", width), index = stored[values[i.inputs[1]].dtype];
  return [{
    label: "scatterAdd",
    text: specialise(scatterText, {
      ...{ ROWS: i.attrs.rows, COLUMNS: columns / width, UPDATES: updates, UNITS: size / width },
      ...{ WIDTH: width, T: type, INDEX: index, PARTS: parts, RUN: Math.ceil(updates / parts) },
    }),
    bindings: [
      { name: "updates", type, slot: i.inputs[0], write: false },
      { name: "indices", type: index, slot: i.inputs[1], write: false },
      { name: "y", type, slot: parts > 1 ? "workspace" : i.output, write: true },
    ],
    count: size / width * parts,
    group: variant.group,
  }, ...addParts(i.output, size, parts, variant)];
}

/** Bytes of partial sums of few rows from many. */
export function scatterWorkspace(
  i: InstructionOf<"scatterAdd">,
  values: Values,
  variant: Variant,
): number {
  const { parts, size } = scatterPlan(i, values, variant);
  return partBytes(parts, size);
}

/** An axis as the one window of an image: what lies before it is the batch, what lies behind it the channels. */
function argmaxWindows({ attrs: { axis }, inputs }: InstructionOf<"argmax">, values: Values): Windows {
  const { shape } = values[inputs[0]];
  const H = shape[axis];
  return {
    ...{ H, W: 1, C: sizeOf(shape.slice(axis + 1)), P: 1, Q: 1, WINDOW_H: H, WINDOW_W: 1 },
    ...{ STRIDE_H: 1, STRIDE_W: 1, PAD_TOP: 0, PAD_LEFT: 0 },
  };
}

/** Index of the first maximum. */
export function argmax(i: InstructionOf<"argmax">, values: Values, variant: Variant): Call[] {
  const results = sizeOf(values[i.output].shape), found = { kind: "places", y: i.output } as const;
  return firstMaxima(i.inputs[0], values, argmaxWindows(i, values), results, found, variant).calls;
}

/** Bytes of the places found along a long axis. */
export function argmaxWorkspace(i: InstructionOf<"argmax">, values: Values, variant: Variant): number {
  const windows = argmaxWindows(i, values);
  return searchParts(windows, variant) > 1
    ? searchBytes(windows, sizeOf(values[i.output].shape), variant)
    : 0;
}

/** Operands one after the other along an axis: one copy for each. */
export function concat(i: InstructionOf<"concat">, values: Values, variant: Variant): Call[] {
  const result = values[i.output];
  const row = sizeOf(result.shape.slice(i.attrs.axis));
  let offset = 0;
  return i.inputs.map((operand) => {
    const { shape } = values[operand];
    const columns = sizeOf(shape.slice(i.attrs.axis));
    const width = [row, offset, columns].every((extent) => extent % 4 === 0) ? 4 : 1;
    const type = typeOf("u32", width);
    const constants = { COLUMNS: columns / width, ROW: row / width, OFFSET: offset / width, WIDTH: width };
    offset += columns;
    return {
      label: "concat",
      text: specialise(copyText, constants),
      bindings: [
        { name: "x", type, slot: operand, write: false },
        { name: "y", type, slot: i.output, write: true },
      ],
      count: sizeOf(shape) / width,
      group: variant.group,
    };
  });
}

/** Zeros around and between. */
export function pad(i: InstructionOf<"pad">, values: Values, variant: Variant): Call[] {
  const axes = padAxes(values[i.inputs[0]].shape, i.attrs);
  const inner = axes[axes.length - 1];
  const plain = inner.low === 0 && inner.high === 0 && inner.interior === 0;
  const width = plain && inner.extent % 4 === 0 ? 4 : 1;
  if (width === 4) inner.extent /= 4;
  const list = (of: (axis: PadAxis) => number) => `array<i32, ${axes.length}>(${axes.map(of).join(", ")})`;
  const strides = stridesOf(axes.map((axis) => axis.extent));
  const type = typeOf("u32", width);
  return [{
    label: "pad",
    text: specialise(padText, {
      ...{ RANK: axes.length, WIDTH: width, T: type },
      ...{ SHAPE: list(paddedExtent), LOW: list((a) => a.low), STEP: list((a) => a.interior + 1) },
      ...{ EXTENT: list((a) => a.extent), STRIDE: list((a) => strides[axes.indexOf(a)]) },
    }),
    bindings: [
      { name: "x", type, slot: i.inputs[0], write: false },
      { name: "y", type, slot: i.output, write: true },
    ],
    count: sizeOf(values[i.output].shape) / width,
    group: variant.group,
  }];
}
