import { type Shape, sizeOf } from "../../trace/dtype.ts";
import type { ConvAttrs } from "../../trace/ops.ts";
import convText from "../../../kernels/webgpu/conv.wgsl" with { type: "text" };
import inputGradText from "../../../kernels/webgpu/conv_input_grad.wgsl" with { type: "text" };
import filterGradText from "../../../kernels/webgpu/conv_filter_grad.wgsl" with { type: "text" };
import { fourOf } from "../shapes.ts";
import { type Call, runs } from "./call.ts";
import { addPartialSums, AFFORDABLE, MAX_TERMS, partialSumBytes, partsOf } from "./partial_sums.ts";
import type { Operation } from "./operation.ts";
import { blockedCall, inFours, tile } from "./tile.ts";
import type { Variant } from "./variant.ts";

/** Convolution and its gradient to the image, which sum over a filter's taps. */
type OverTaps = Operation<"conv"> | Operation<"convInputGrad">;

/** The geometry of a convolution, by the names in the kernels. */
function geometry(image: Shape, filter: Shape, result: Shape, attrs: ConvAttrs) {
  const [, H, W, C] = fourOf(image), [K, R, S, CG] = fourOf(filter), [, P, Q] = fourOf(result);
  return {
    ...{ H, W, C, K, R, S, CG, KG: K / attrs.groups, P, Q, FILTER: R * S * CG },
    ...{ STRIDE_H: attrs.strides[0], STRIDE_W: attrs.strides[1] },
    ...{ DILATION_H: attrs.dilation[0], DILATION_W: attrs.dilation[1] },
    ...{ PAD_TOP: attrs.padding[0][0], PAD_LEFT: attrs.padding[1][0] },
    PADDED: attrs.padding.flat().some((extent) => extent > 0),
  };
}

/**
 * Cuts the sum over a filter's taps and the channels of each into parts of at most `terms`, short enough for one
 * invocation: runs of taps, and runs of channels if even one tap has too many.
 */
function tapRuns(taps: number, channels: number, terms: number, { run }: Variant) {
  const channelParts = Math.ceil(Math.max(1, channels) / Math.max(4, Math.min(run, terms)));
  const CHANNEL_RUN = Math.ceil(Math.max(1, channels) / channelParts / 4) * 4;
  const most = Math.min(run / (1 + CHANNEL_RUN / 4), terms / CHANNEL_RUN);
  const TAP_RUN = Math.max(1, Math.min(taps, Math.floor(most)));
  const TAP_PARTS = Math.ceil(taps / TAP_RUN);
  const PARTS = TAP_PARTS * Math.max(1, Math.ceil(channels / CHANNEL_RUN));
  return { CHANNEL_RUN, TAP_RUN, TAP_PARTS, PARTS, SPLIT: PARTS > 1 };
}

/** The parts of a convolution's sums: long ones are cut further, for the sake of rounding, if that is affordable. */
function tapParts(i: OverTaps, variant: Variant) {
  const [K, R, S, CG] = fourOf(i.operands[1].shape);
  const taps = R * S, channels = i.op === "conv" ? CG : K / i.attrs.groups;
  const needed = tapRuns(taps, channels, Infinity, variant);
  if (taps * channels <= 2 * MAX_TERMS) return needed;
  const short = tapRuns(taps, channels, MAX_TERMS, variant);
  return short.PARTS * sizeOf(i.result.shape) <= AFFORDABLE ? short : needed;
}

/** Convolution. */
export function conv(i: Operation<"conv">, variant: Variant): Call[] {
  const [x, w] = i.inputs;
  const [image, filter] = i.operands, y = i.result.shape;
  const g = geometry(image.shape, filter.shape, y, i.attrs);
  const M = fourOf(y)[0] * g.P * g.Q;
  const out = tile(g.KG, variant.blocks.columns);
  const pixels = tile(M, variant.blocks.rows);
  const parts = tapParts(i, variant);
  const OUT_TILES = out.tiles * i.attrs.groups, COUNT = pixels.tiles * OUT_TILES;
  const constants = {
    ...g,
    ...{ M, COUNT, OUT_TILES, GROUP_TILES: out.tiles, OUT_BLOCKS: out.blocks, OUTS: 4 * out.blocks },
    ...{ PIXEL_BLOCKS: pixels.blocks, PIXELS: 4 * pixels.blocks, ...parts },
  };
  const bindings = [
    runs("x", x, inFours(g.C, g.CG)),
    runs("w", w, inFours(g.CG)),
    runs("y", parts.SPLIT ? "workspace" : i.output, inFours(g.K, g.KG), true),
  ];
  return [
    blockedCall("conv", convText, constants, bindings, COUNT * parts.PARTS, variant.blockedGroup),
    ...addPartialSums(i.output, sizeOf(y), parts.PARTS, variant),
  ];
}

/** The gradient of a convolution to its image. */
export function convInputGrad(i: Operation<"convInputGrad">, variant: Variant): Call[] {
  const [dy, w] = i.inputs;
  const [gradient, filter] = i.operands, [N] = fourOf(i.attrs.inputShape);
  const g = geometry(i.attrs.inputShape, filter.shape, gradient.shape, i.attrs);
  const PHASE_H = Math.ceil(g.H / g.STRIDE_H), PHASE_W = Math.ceil(g.W / g.STRIDE_W);
  const M = N * PHASE_H * PHASE_W;
  const out = tile(g.CG, variant.blocks.columns);
  const pixels = tile(M, variant.blocks.rows);
  const parts = tapParts(i, variant);
  const OUT_TILES = out.tiles * i.attrs.groups;
  const COUNT = g.STRIDE_H * g.STRIDE_W * pixels.tiles * OUT_TILES, SIZE = sizeOf(i.attrs.inputShape);
  const constants = {
    ...{ ...g, ...parts, M, COUNT, SIZE, PHASE_H, PHASE_W },
    ...{ OUT_TILES, GROUP_TILES: out.tiles, OUT_BLOCKS: out.blocks, OUTS: 4 * out.blocks },
    ...{ PIXEL_TILES: pixels.tiles, PIXEL_BLOCKS: pixels.blocks, PIXELS: 4 * pixels.blocks },
  };
  const bindings = [
    runs("dy", dy, inFours(g.K, g.KG)),
    runs("w", w, inFours(g.CG)),
    runs("dx", parts.SPLIT ? "workspace" : i.output, inFours(g.C, g.CG), true),
  ];
  return [
    blockedCall(
      "convInputGrad",
      inputGradText,
      constants,
      bindings,
      COUNT * parts.PARTS,
      variant.blockedGroup,
    ),
    ...addPartialSums(i.output, SIZE, parts.PARTS, variant),
  ];
}

function filterGradTiles(i: Operation<"convFilterGrad">, variant: Variant) {
  const [image, gradient] = i.operands;
  const g = geometry(image.shape, i.attrs.filterShape, gradient.shape, i.attrs);
  const M = fourOf(gradient.shape)[0] * g.P * g.Q;
  const out = tile(g.KG, variant.filterBlocks.rows), into = tile(g.CG, variant.filterBlocks.columns);
  const TILES = i.attrs.groups * out.tiles * into.tiles;
  const SIZE = sizeOf(i.attrs.filterShape);
  return { g, M, out, into, TILES, SIZE, PARTS: partsOf(TILES * g.R * g.S, M, SIZE, variant) };
}

/** The gradient of a convolution to its filter. */
export function convFilterGrad(i: Operation<"convFilterGrad">, variant: Variant): Call[] {
  const [x, dy] = i.inputs;
  const { g, M, out, into, TILES, SIZE, PARTS } = filterGradTiles(i, variant);
  const RUN = Math.ceil(M / 4 / PARTS) * 4;
  const constants = {
    ...g,
    ...{ M, RUN, TILES, SIZE, PARTS, OUT_TILES: out.tiles, OUT_BLOCKS: out.blocks, OUTS: 4 * out.blocks },
    ...{ IN_TILES: into.tiles, IN_BLOCKS: into.blocks, INS: 4 * into.blocks },
  };
  const bindings = [
    runs("x", x, inFours(g.C, g.CG)),
    runs("dy", dy, inFours(g.K, g.KG)),
    runs("dw", PARTS > 1 ? "workspace" : i.output, inFours(g.CG), true),
  ];
  const count = TILES * g.R * g.S * PARTS;
  return [
    blockedCall("convFilterGrad", filterGradText, constants, bindings, count, variant.blockedGroup),
    ...addPartialSums(i.output, SIZE, PARTS, variant),
  ];
}

/** Bytes of workspace for the partial sums of a convolution or either of its gradients. */
export function convWorkspace(
  i: OverTaps | Operation<"convFilterGrad">,
  variant: Variant,
): number {
  const { PARTS } = i.op === "convFilterGrad" ? filterGradTiles(i, variant) : tapParts(i, variant);
  return partialSumBytes(PARTS, sizeOf(i.result.shape));
}
