import imagePool from "../../../kernels/cuda/pool.cu" with { type: "text" };
import moveText from "../../../kernels/cuda/move.cu" with { type: "text" };
import resizeText from "../../../kernels/cuda/resize.cu" with { type: "text" };
import rowsText from "../../../kernels/cuda/rows.cu" with { type: "text" };
import { type Aval, type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { OpName, PoolAttrs } from "../../trace/ops.ts";
import type { InstructionOf } from "../../trace/program.ts";
import { padAxes, type PadAxis, paddedExtent } from "../pad_axes.ts";
import { type Argument, type Call, THREADS, valueArgument } from "./call.ts";
import { typeOf } from "./expressions.ts";
import { type Lanes, lanesOf, widestOf } from "./schedule.ts";

type Values = readonly Aval[];

/** The hand-written kernels, as function templates over a geometry. */
export const templates: readonly string[] = [imagePool, resizeText, rowsText, moveText];

/** Constants of a kernel's geometry: whole numbers and truths as members, text as the body of the struct. */
type Geometry = Readonly<Record<string, number | boolean>>;

/** A launch of a template over `count` threads; `functions` are members that are not whole numbers. */
function launch(
  label: string,
  template: string,
  geometry: Geometry,
  count: number,
  parameters: readonly Argument[],
  functions: readonly string[] = [],
): Call {
  const members = Object.entries({ ...geometry, count }).map(([name, value]) =>
    typeof value === "boolean" ? `static constexpr bool ${name} = ${value};` : memberOf(name, value)
  );
  const list = parameters.map(({ dtype, written }, i) =>
    `${written ? "" : "const "}${typeOf[dtype]}* __restrict__ p${i}`
  );
  const text = [
    `struct NAME_geometry {`,
    ...[...members, ...functions].map((member) => `  ${member}`),
    "};",
    `KERNEL(THREADS) NAME(${list.join(", ")}) {`,
    `  ${template.replace("G", "NAME_geometry")}(${parameters.map((_, i) => `p${i}`).join(", ")});`,
    "}",
  ].join("\n");
  return { label, text, arguments: parameters, blocks: Math.ceil(count / THREADS) };
}

/** Sizes are unsigned; places in an image may be negative, so their bounds are signed. */
const unsigned: ReadonlySet<string> = new Set(["count", "extent", "inner", "updates", "row", "offset"]);
const memberOf = (name: string, value: number): string =>
  `static constexpr ${unsigned.has(name) ? "u32" : "int"} ${name} = ${value}${
    unsigned.has(name) ? "u" : ""
  };`;

const lanes = (extent: number, { dtype }: Aval): Lanes => lanesOf(extent, widestOf([{ dtype }]));
const argument = (values: Values, id: number, written = false): Argument =>
  valueArgument(id, values[id].dtype, written);

function windows(
  image: Shape,
  result: Shape,
  lanes: Lanes,
  { window, strides, padding }: PoolAttrs,
): Geometry {
  return {
    ...{ height: image[1], width: image[2], rows: result[1], columns: result[2] },
    ...{ window_height: window[0], window_width: window[1] },
    ...{ stride_height: strides[0], stride_width: strides[1] },
    ...{ pad_top: padding[0][0], pad_left: padding[1][0] },
    ...{ channels: image[3], lanes },
  };
}

/** Max and average pooling, picking at the maxima, and gradients to the image. */
export function pool(
  i: InstructionOf<"maxPool" | "maxPoolPick" | "avgPool" | "maxPoolGrad" | "avgPoolGrad">,
  values: Values,
): Call[] {
  const gradient = i.op === "maxPoolGrad" || i.op === "avgPoolGrad";
  const { shape: output } = values[i.output];
  const run = lanes(output[3], values[i.output]);
  const image = gradient ? output : values[i.inputs[0]].shape;
  const result = gradient ? values[i.inputs[i.inputs.length - 1]].shape : output;
  const template = {
    maxPool: "max_pool<G>",
    maxPoolPick: "max_pool_pick<G>",
    avgPool: "average_pool<G>",
    maxPoolGrad: "pool_gradient<G, true>",
    avgPoolGrad: "average_pool_gradient<G>",
  }[i.op];
  return [launch(
    i.op,
    template,
    windows(image, result, run, i.attrs),
    sizeOf(output) / run,
    [...i.inputs.map((id) => argument(values, id)), argument(values, i.output, true)],
  )];
}

/** Bilinear resize and its gradient. */
export function resize(i: InstructionOf<"resize" | "resizeGrad">, values: Values): Call[] {
  const gradient = i.op === "resizeGrad";
  const [from, to] = gradient
    ? [values[i.output].shape, values[i.inputs[0]].shape]
    : [values[i.inputs[0]].shape, values[i.output].shape];
  const run = lanes(from[3], values[i.output]);
  const scale = (source: number, result: number): string => {
    const ratio = !i.attrs.alignCorners ? source / result : result > 1 ? (source - 1) / (result - 1) : 0;
    return `(float)${ratio}`;
  };
  return [launch(
    i.op,
    gradient ? "resize_gradient<G>" : "resize<G>",
    {
      ...{ height: from[1], width: from[2], rows: to[1], columns: to[2] },
      ...{ align_corners: i.attrs.alignCorners, channels: from[3], lanes: run },
    },
    sizeOf(values[i.output].shape) / run,
    [argument(values, i.inputs[0]), argument(values, i.output, true)],
    [
      `static DEVICE float scale_height() { return ${scale(from[1], to[1])}; }`,
      `static DEVICE float scale_width() { return ${scale(from[2], to[2])}; }`,
    ],
  )];
}

/** Rows picked by index. */
export function gather(i: InstructionOf<"gather">, values: Values): Call[] {
  const [table, indices] = i.inputs.map((id) => values[id]);
  const columns = sizeOf(table.shape.slice(1));
  const run = lanes(columns, table);
  return [launch(
    "gather",
    "gather<G>",
    { rows: table.shape[0], columns, lanes: run },
    sizeOf(indices.shape) * columns / run,
    [...i.inputs.map((id) => argument(values, id)), argument(values, i.output, true)],
  )];
}

/** Rows added up by index. */
export function scatterAdd(i: InstructionOf<"scatterAdd">, values: Values): Call[] {
  const size = sizeOf(values[i.output].shape);
  const columns = size / i.attrs.rows;
  const run = lanes(columns, values[i.output]);
  return [launch(
    "scatterAdd",
    "scatter_add<G>",
    { rows: i.attrs.rows, columns, updates: sizeOf(values[i.inputs[1]].shape), lanes: run },
    size / run,
    [...i.inputs.map((id) => argument(values, id)), argument(values, i.output, true)],
  )];
}

/** Index of the first maximum. */
export function argmax(i: InstructionOf<"argmax">, values: Values): Call[] {
  const { shape } = values[i.inputs[0]];
  return [launch(
    "argmax",
    "arg_max<G>",
    { extent: shape[i.attrs.axis], inner: sizeOf(shape.slice(i.attrs.axis + 1)) },
    sizeOf(values[i.output].shape),
    [argument(values, i.inputs[0]), argument(values, i.output, true)],
  )];
}

/** A value that is only moved: as words of 4 bytes, or of 2. */
const words = (values: Values, id: number, written = false): Argument =>
  valueArgument(id, values[id].dtype === "bf16" ? "bf16" : "u32", written);

/** Operands one after the other along an axis: one copy for each. */
export function concat(i: InstructionOf<"concat">, values: Values): Call[] {
  const row = sizeOf(values[i.output].shape.slice(i.attrs.axis));
  let offset = 0;
  return i.inputs.map((operand) => {
    const { shape } = values[operand];
    const columns = sizeOf(shape.slice(i.attrs.axis));
    const run = Math.min(...[row, offset, columns].map((extent) => lanes(extent, values[operand])));
    const geometry = { columns, row, offset, lanes: run };
    offset += columns;
    return launch("concat", "copy_block<G>", geometry, sizeOf(shape) / run, [
      words(values, operand),
      words(values, i.output, true),
    ]);
  });
}

/** Zeros around and between. */
export function pad(i: InstructionOf<"pad">, values: Values): Call[] {
  const axes = padAxes(values[i.inputs[0]].shape, i.attrs);
  const inner = axes[axes.length - 1];
  const run = inner.low === 0 && inner.high === 0 && inner.interior === 0
    ? lanes(inner.extent, values[i.output])
    : 1;
  inner.extent /= run;
  const strides = stridesOf(axes.map(({ extent }) => extent));
  const table = (name: string, of: (axis: PadAxis, index: number) => number): string => {
    const cases = axes.map((axis, index) => of(axis, index));
    const last = cases.length - 1;
    const chain = cases.slice(0, last).map((value, a) => `a == ${a} ? ${value}u : `).join("");
    return `static DEVICE u32 ${name}(int ${last > 0 ? "a" : ""}) { return ${chain}${cases[last]}u; }`;
  };
  return [launch(
    "pad",
    "pad<G>",
    { rank: axes.length, lanes: run },
    sizeOf(values[i.output].shape) / run,
    [words(values, i.inputs[0]), words(values, i.output, true)],
    [
      table("shape", paddedExtent),
      table("low", (a) => a.low),
      table("step", (a) => a.interior + 1),
      table("extent", (a) => a.extent),
      table("stride", (_, index) => strides[index]),
    ],
  )];
}

/** How each structured op that is a kernel of ours is launched. */
export const structured = {
  ...{ maxPool: pool, maxPoolPick: pool, avgPool: pool, maxPoolGrad: pool, avgPoolGrad: pool },
  ...{ resize, resizeGrad: resize, gather, scatterAdd, argmax, concat, pad },
} satisfies { readonly [N in OpName]?: (instruction: InstructionOf<N>, values: Values) => Call[] };
