import type { InstructionOf } from "../../trace/program.ts";
import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { ConvAttrs } from "../../trace/ops.ts";
import convText from "../../../kernels/webgpu/conv.wgsl" with { type: "text" };
import inputGradText from "../../../kernels/webgpu/conv_input_grad.wgsl" with { type: "text" };
import filterGradText from "../../../kernels/webgpu/conv_filter_grad.wgsl" with { type: "text" };
import matmulText from "../../../kernels/webgpu/matmul.wgsl" with { type: "text" };
import { type Call, type Runs, runs } from "./call.ts";
import { addParts, partBytes, partsOf } from "./parts.ts";
import { type Constants, specialise } from "./template.ts";
import { tile, type Variant } from "./variant.ts";

type Values = readonly Aval[];
type Convolution = InstructionOf<"conv"> | InstructionOf<"convInputGrad">;

/** Geometry of a convolution under the names the kernels use. */
function geometry(
  image: readonly number[],
  filter: readonly number[],
  result: readonly number[],
  attrs: ConvAttrs,
) {
  const [, H, W, C] = image;
  const [K, R, S, CG] = filter;
  return {
    ...{ H, W, C, K, R, S, CG, KG: K / attrs.groups, P: result[1], Q: result[2], FILTER: R * S * CG },
    ...{ STRIDE_H: attrs.strides[0], STRIDE_W: attrs.strides[1] },
    ...{ DILATION_H: attrs.dilation[0], DILATION_W: attrs.dilation[1] },
    ...{ PAD_TOP: attrs.padding[0][0], PAD_LEFT: attrs.padding[1][0] },
    PADDED: attrs.padding.flat().some((extent) => extent > 0),
  };
}

function call(
  label: string,
  text: string,
  constants: Constants,
  bindings: readonly Runs[],
  count: number,
  group: number,
): Call {
  return {
    label,
    text: [...bindings.map((bound) => bound.text), specialise(text, constants)].join("\n"),
    bindings,
    count,
    group,
  };
}

const whole = (...extents: readonly number[]): boolean => extents.every((extent) => extent % 4 === 0);

/**
 * How the sum over a filter's taps and `channels` of each is cut into parts that no loop is too long for: runs of taps,
 * and of channels where even one tap has too many.
 */
function tapParts(taps: number, channels: number, { run }: Variant) {
  const CHANNEL_RUN = Math.min(Math.max(4, Math.ceil(channels / 4) * 4), Math.max(4, run));
  const TAP_RUN = Math.max(1, Math.min(taps, Math.floor(run / (1 + CHANNEL_RUN / 4))));
  const TAP_PARTS = Math.ceil(taps / TAP_RUN);
  const PARTS = TAP_PARTS * Math.max(1, Math.ceil(channels / CHANNEL_RUN));
  return { CHANNEL_RUN, TAP_RUN, TAP_PARTS, PARTS, SPLIT: PARTS > 1 };
}

/** Into how many parts the sums of a convolution or of its gradient to the image are cut. */
function convParts(i: Convolution, values: Values, variant: Variant) {
  const [K, R, S, CG] = values[i.inputs[1]].shape;
  return tapParts(R * S, i.op === "conv" ? CG : K / i.attrs.groups, variant);
}

/** Forward convolution. */
export function conv(i: InstructionOf<"conv">, values: Values, variant: Variant): Call[] {
  const [x, w] = i.inputs;
  const y = values[i.output].shape;
  const g = geometry(values[x].shape, values[w].shape, y, i.attrs);
  const M = y[0] * g.P * g.Q;
  const out = tile(g.KG, variant.blocks.columns);
  const pixels = tile(M, variant.blocks.rows);
  const parts = convParts(i, values, variant);
  const OUT_TILES = out.tiles * i.attrs.groups, COUNT = pixels.tiles * OUT_TILES;
  const constants = {
    ...g,
    ...{ M, COUNT, OUT_TILES, GROUP_TILES: out.tiles, OUT_BLOCKS: out.blocks, OUTS: 4 * out.blocks },
    ...{ PIXEL_BLOCKS: pixels.blocks, PIXELS: 4 * pixels.blocks, ...parts },
  };
  const bindings = [
    runs("x", x, whole(g.C, g.CG)),
    runs("w", w, whole(g.CG)),
    runs("y", parts.SPLIT ? "workspace" : i.output, whole(g.K, g.KG), true),
  ];
  return [
    call("conv", convText, constants, bindings, COUNT * parts.PARTS, variant.blockedGroup),
    ...addParts(i.output, sizeOf(y), parts.PARTS, variant),
  ];
}

/** Gradient of a convolution to its image. */
export function convInputGrad(i: InstructionOf<"convInputGrad">, values: Values, variant: Variant): Call[] {
  const [dy, w] = i.inputs;
  const [N, H, W] = i.attrs.inputShape;
  const g = geometry(i.attrs.inputShape, values[w].shape, values[dy].shape, i.attrs);
  const PHASE_H = Math.ceil(H / g.STRIDE_H), PHASE_W = Math.ceil(W / g.STRIDE_W);
  const M = N * PHASE_H * PHASE_W;
  const out = tile(g.CG, variant.blocks.columns);
  const pixels = tile(M, variant.blocks.rows);
  const parts = convParts(i, values, variant);
  const OUT_TILES = out.tiles * i.attrs.groups;
  const COUNT = g.STRIDE_H * g.STRIDE_W * pixels.tiles * OUT_TILES, SIZE = sizeOf(i.attrs.inputShape);
  const constants = {
    ...{ ...g, ...parts, M, COUNT, SIZE, PHASE_H, PHASE_W },
    ...{ OUT_TILES, GROUP_TILES: out.tiles, OUT_BLOCKS: out.blocks, OUTS: 4 * out.blocks },
    ...{ PIXEL_TILES: pixels.tiles, PIXEL_BLOCKS: pixels.blocks, PIXELS: 4 * pixels.blocks },
  };
  const bindings = [
    runs("dy", dy, whole(g.K, g.KG)),
    runs("w", w, whole(g.CG)),
    runs("dx", parts.SPLIT ? "workspace" : i.output, whole(g.C, g.CG), true),
  ];
  return [
    call("convInputGrad", inputGradText, constants, bindings, COUNT * parts.PARTS, variant.blockedGroup),
    ...addParts(i.output, SIZE, parts.PARTS, variant),
  ];
}

function filterGradPlan(i: InstructionOf<"convFilterGrad">, values: Values, variant: Variant) {
  const [x, dy] = i.inputs;
  const g = geometry(values[x].shape, i.attrs.filterShape, values[dy].shape, i.attrs);
  const M = values[dy].shape[0] * g.P * g.Q;
  const out = tile(g.KG, variant.filterBlocks.rows), into = tile(g.CG, variant.filterBlocks.columns);
  const TILES = i.attrs.groups * out.tiles * into.tiles;
  const SIZE = sizeOf(i.attrs.filterShape);
  return { g, M, out, into, TILES, SIZE, PARTS: partsOf(TILES * g.R * g.S, M, SIZE, variant) };
}

/** Gradient of a convolution to its filter. */
export function convFilterGrad(i: InstructionOf<"convFilterGrad">, values: Values, variant: Variant): Call[] {
  const [x, dy] = i.inputs;
  const { g, M, out, into, TILES, SIZE, PARTS } = filterGradPlan(i, values, variant);
  const RUN = Math.ceil(M / 4 / PARTS) * 4;
  const constants = {
    ...g,
    ...{ M, RUN, TILES, SIZE, PARTS, OUT_TILES: out.tiles, OUT_BLOCKS: out.blocks, OUTS: 4 * out.blocks },
    ...{ IN_TILES: into.tiles, IN_BLOCKS: into.blocks, INS: 4 * into.blocks },
  };
  const bindings = [
    runs("x", x, whole(g.C, g.CG)),
    runs("dy", dy, whole(g.K, g.KG)),
    runs("dw", PARTS > 1 ? "workspace" : i.output, whole(g.CG), true),
  ];
  const count = TILES * g.R * g.S * PARTS;
  return [
    call("convFilterGrad", filterGradText, constants, bindings, count, variant.blockedGroup),
    ...addParts(i.output, SIZE, PARTS, variant),
  ];
}

function matmulPlan(i: InstructionOf<"matmul">, values: Values, variant: Variant) {
  const a = values[i.inputs[0]].shape, y = values[i.output].shape;
  const [M, N] = y.slice(-2);
  const K = i.attrs.transposeA ? a[a.length - 2] : a[a.length - 1];
  const BATCH = y.length === 3 ? y[0] : 1;
  const rows = tile(M, variant.blocks.rows), columns = tile(N, variant.blocks.columns);
  const tiles = BATCH * rows.tiles * columns.tiles;
  return { M, N, K, BATCH, rows, columns, tiles, PARTS: partsOf(tiles, K, sizeOf(y), variant) };
}

/** Matrix product. */
export function matmul(i: InstructionOf<"matmul">, values: Values, variant: Variant): Call[] {
  const { M, N, K, BATCH, rows, columns, tiles, PARTS } = matmulPlan(i, values, variant);
  const { transposeA, transposeB } = i.attrs;
  const constants = {
    ...{
      M,
      N,
      K,
      BATCH,
      PARTS,
      RUN: Math.ceil(K / 4 / PARTS) * 4,
      K_TAIL: K % 4 !== 0,
      TRANSPOSE_A: transposeA,
      TRANSPOSE_B: transposeB,
    },
    ...{ ROW_TILES: rows.tiles, ROW_BLOCKS: rows.blocks, ROWS: 4 * rows.blocks },
    ...{ COL_TILES: columns.tiles, COL_BLOCKS: columns.blocks, COLS: 4 * columns.blocks },
  };
  const bindings = [
    runs("a", i.inputs[0], whole(transposeA ? M : K)),
    runs("b", i.inputs[1], whole(transposeB ? K : N)),
    runs("y", PARTS > 1 ? "workspace" : i.output, whole(N), true),
  ];
  return [
    call("matmul", matmulText, constants, bindings, tiles * PARTS, variant.blockedGroup),
    ...addParts(i.output, BATCH * M * N, PARTS, variant),
  ];
}

/** Bytes of partial sums that a product needs. */
export function productWorkspace(
  i: Convolution | InstructionOf<"convFilterGrad"> | InstructionOf<"matmul">,
  values: Values,
  variant: Variant,
): number {
  const { PARTS } = i.op === "matmul"
    ? matmulPlan(i, values, variant)
    : i.op === "convFilterGrad"
    ? filterGradPlan(i, values, variant)
    : convParts(i, values, variant);
  return partBytes(PARTS, sizeOf(values[i.output].shape));
}
