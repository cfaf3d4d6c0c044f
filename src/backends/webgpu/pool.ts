import { type Shape, sizeOf } from "../../trace/dtype.ts";
import type { PoolAttrs } from "../../trace/ops.ts";
import poolText from "../../../kernels/webgpu/pool.wgsl" with { type: "text" };
import partsText from "../../../kernels/webgpu/pool_parts.wgsl" with { type: "text" };
import gradText from "../../../kernels/webgpu/pool_grad.wgsl" with { type: "text" };
import { fourOf } from "../shapes.ts";
import type { Binding, Call } from "./call.ts";
import { firstMaxima, searchBytes, type Windows } from "./maxima.ts";
import { addPartialSums, FEW, partialSumBytes } from "./partial_sums.ts";
import { perChannel } from "./per_channel.ts";
import type { Operation } from "./operation.ts";
import { specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

type Pool = Operation<"maxPool"> | Operation<"maxPoolPick"> | Operation<"avgPool">;
type PoolGrad = Operation<"maxPoolGrad"> | Operation<"avgPoolGrad">;

function windowsOf(image: Shape, result: Shape, attrs: PoolAttrs): Windows {
  const [, H, W, C] = fourOf(image), [, P, Q] = fourOf(result);
  return {
    ...{ H, W, C, P, Q },
    ...{ WINDOW_H: attrs.window[0], WINDOW_W: attrs.window[1] },
    ...{ STRIDE_H: attrs.strides[0], STRIDE_W: attrs.strides[1] },
    ...{ PAD_TOP: attrs.padding[0][0], PAD_LEFT: attrs.padding[1][0] },
  };
}

/** The most rows and columns of a window inside the image. */
const inside = (w: Windows) => ({ ROWS: Math.min(w.WINDOW_H, w.H), COLS: Math.min(w.WINDOW_W, w.W) });

/** The most windows that cover one pixel, vertically and horizontally. */
const covering = (w: Windows) => ({
  DOWN: Math.min(Math.ceil(w.WINDOW_H / w.STRIDE_H), w.P),
  ACROSS: Math.min(Math.ceil(w.WINDOW_W / w.STRIDE_W), w.Q),
});

/** The number of parts of a sum over `terms` elements, one loop for each. */
const runsOf = (terms: number, { run }: Variant): number => Math.ceil(terms / run);

function poolPlan(i: Pool, variant: Variant) {
  const windows = windowsOf(i.operands[0].shape, i.result.shape, i.attrs);
  const { ROWS, COLS } = inside(windows);
  const long = ROWS * COLS > variant.run;
  return { windows, long, parts: runsOf(windows.WINDOW_H * windows.WINDOW_W, variant) };
}

/** Max and average pooling, and selection at the maxima. */
export function pool(i: Pool, variant: Variant): Call[] {
  const [x] = i.inputs;
  const { output } = i;
  const { windows, long, parts } = poolPlan(i, variant);
  const size = sizeOf(i.result.shape);
  if (!long) {
    const { ROWS, COLS } = inside(windows);
    const constants = {
      ...{ ...windows, ROWS, COLS, FEW, LONG: ROWS * COLS > FEW },
      ...{ AVERAGE: i.op === "avgPool", PICK: i.op === "maxPoolPick" },
    };
    const operands: Record<string, number> = i.op === "maxPoolPick" ? { x, v: i.inputs[1] } : { x };
    const functions = i.op === "maxPool"
      ? ["max"] as const
      : i.op === "maxPoolPick"
      ? ["is_greater"] as const
      : undefined;
    const over = i.result;
    return [
      perChannel(
        { label: i.op, text: poolText, constants, operands, output, over, ...(functions && { functions }) },
        variant,
      ),
    ];
  }
  if (i.op !== "avgPool") {
    const found = i.op === "maxPool"
      ? { kind: "maxima", y: output } as const
      : { kind: "picked", y: output, v: i.inputs[1] } as const;
    return firstMaxima(x, i.operands[0].dtype, windows, size, found, variant).calls;
  }
  const area = windows.WINDOW_H * windows.WINDOW_W;
  const constants = { ...windows, RUN: Math.ceil(area / parts), FEW };
  const over = i.result, operands = { x };
  return [
    perChannel(
      { label: i.op, text: partsText, constants, operands, output: "workspace", over, parts },
      variant,
    ),
    ...addPartialSums(output, size, parts, variant, 0, 1 / area),
  ];
}

function gradPlan(i: PoolGrad, variant: Variant) {
  const { shape: result } = i.op === "maxPoolGrad" ? i.operands[1] : i.operands[0];
  const image = i.result.shape;
  const windows = windowsOf(image, result, i.attrs);
  const { DOWN, ACROSS } = covering(windows), { ROWS, COLS } = inside(windows);
  const each = i.op === "maxPoolGrad" ? ROWS * (1 + COLS) : 0;
  const long = DOWN * (1 + ACROSS * (1 + each)) > variant.run;
  const found = long && i.op === "maxPoolGrad"; // the maxima are found first, once for each window
  const results = sizeOf(result), size = sizeOf(image);
  const searched = found ? searchBytes(windows, results, variant) : 0;
  const parts = long ? runsOf(DOWN * ACROSS, variant) : 1;
  const RUN = Math.ceil(DOWN * ACROSS / parts);
  return {
    windows,
    found,
    results,
    size,
    searched,
    parts,
    sums: { DOWN, ACROSS, RUN, FEW, LONG: RUN > FEW },
  };
}

/** The gradients of pooling to the image. */
export function poolGrad(i: PoolGrad, variant: Variant): Call[] {
  const { output } = i;
  const dy = i.op === "maxPoolGrad" ? i.inputs[1] : i.inputs[0];
  const { windows, found, results, size, searched, parts, sums } = gradPlan(i, variant);
  const constants = {
    ...{ ...windows, ...inside(windows), ...sums },
    ...{ MAXIMUM: i.op === "maxPoolGrad" && !found, AVERAGE: i.op === "avgPoolGrad", FOUND: found },
  };
  const label = i.op, text = gradText, over = i.result;
  if (!found) {
    const operands: Record<string, number> = i.op === "maxPoolGrad" ? { x: i.inputs[0], dy } : { dy };
    const functions = i.op === "maxPoolGrad" ? ["is_greater"] as const : undefined;
    const target = parts > 1 ? "workspace" : output;
    return [
      perChannel({
        ...{ label, text, operands, over, parts, output: target, constants: { ...constants, TO: 0, AT: 0 } },
        ...(functions && { functions }),
      }, variant),
      ...addPartialSums(output, size, parts, variant),
    ];
  }
  const search = firstMaxima(i.inputs[0], i.operands[0].dtype, windows, results, { kind: "places" }, variant);
  const TO = parts > 1 ? searched / 4 : 0;
  const bindings: Binding[] = [
    { name: "dy", type: "f32", slot: dy, write: false },
    ...(parts > 1 ? [{ name: "y", type: "f32", slot: "workspace", write: true } as const] : [
      { name: "at", type: "i32", slot: "workspace", write: false } as const,
      { name: "y", type: "f32", slot: output, write: true },
    ]),
  ];
  const scalar = { T: "f32", B: "bool", LANES: 1, CHANNELS: windows.C, UNITS: size, PARTS: parts };
  return [
    ...search.calls,
    {
      ...{ label, bindings, count: size * parts, group: variant.group },
      text: specialise(text, { ...constants, ...scalar, SPLIT: parts > 1, AT: search.at, TO }),
    },
    ...addPartialSums(output, size, parts, variant, searched),
  ];
}

/** Bytes of workspace for pooling over long windows. */
export function poolWorkspace(i: Pool, variant: Variant): number {
  const { windows, long, parts } = poolPlan(i, variant);
  const size = sizeOf(i.result.shape);
  if (!long) return 0;
  return i.op === "avgPool" ? partialSumBytes(parts, size) : searchBytes(windows, size, variant);
}

/** Bytes of workspace for the gradient of pooling over long windows. */
export function poolGradWorkspace(i: PoolGrad, variant: Variant): number {
  const { searched, parts, size } = gradPlan(i, variant);
  return searched + partialSumBytes(parts, size);
}
