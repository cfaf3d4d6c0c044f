/**
 * The choice, launch by launch, between WebAssembly and oneDNN. It depends on shapes alone. Each rule has the figures that
 * it follows: GFLOP/s of two cores of an EPYC 9004 (Zen 4), multiplications and additions of the convolution's definition,
 * as `bench/onednn_ways.ts` prints them.
 *
 * @module
 */
import type { ConvAttrs } from "../../../trace/ops.ts";
import type { ConvShapes } from "../conv.ts";
import type { Correlation } from "../conv_geometry.ts";
import { winogradPays } from "../conv_winograd.ts";

/**
 * Ways to compute a convolution or a gradient of one: WebAssembly; oneDNN's primitive on slices of the batch; Winograd's
 * minimal filtering by WebAssembly with oneDNN's products.
 */
export type Way = "wasm" | "direct" | "winograd";

/** A convolution, or a gradient of one. */
export interface Conv {
  readonly kind: "forward" | "inputGrad" | "filterGrad";
  readonly shapes: ConvShapes;
  readonly attrs: ConvAttrs;
  /** The correlation that it is, or the forward convolution's. */
  readonly correlation: Correlation;
}

/** The fastest way to compute a convolution where oneDNN has a fast primitive for it. */
export function wayOf(conv: Conv): Way {
  if (winogradWins(conv)) return "winograd";
  if (conv.kind === "inputGrad" && gradientIsSlow(conv)) return "wasm";
  return "direct";
}

/**
 * Minimal filtering takes 16 products where the definition has 36, and transforms of 4 × 4 pixels.
 *
 * | batch, image, channels | tiles | wasm, direct, Winograd: forward | filter gradient |
 * | ---------------------- | ----- | ------------------------------- | --------------- |
 * | 32, 32², 16 → 16       | 8,192 | 143, 224, 239                   | 148, 235, 195   |
 * | 32, 32², 16 → 32       | 8,192 | 156, 231, 293                   | 159, 233, 254   |
 * | 8, 32², 24 → 24        | 2,048 | 153, 171, 234                   | 142, 163, 193   |
 * | 32, 16², 32 → 32       | 2,048 | 168, 239, 324                   | 158, 239, 263   |
 * | 32, 8², 64 → 64        | 512   | 184, 259, 328                   | 147, 231, 312   |
 * | 8, 56², 64 → 64        | 6,272 | 178, 232, 375                   | 177, 223, 326   |
 * | 8, 28², 128 → 128      | 1,568 | 202, 240, 378                   | 161, 228, 321   |
 * | 8, 14², 256 → 256      | 392   | 185, 245, 279                   | 149, 181, 282   |
 * | 32, 7², 512 → 512      | 512   | 119, 253, 238                   | 115, none, 233  |
 * | 8, 7², 512 → 512       | 128   | 119, 228, 171                   | 111, none, 209  |
 * | 32, 4², 128 → 128      | 128   | 163, 268, 217                   | 119, 177, 253   |
 * | 8, 8², 64 → 64         | 128   | 152, 202, 157                   | 110, 149, 225   |
 * | 1, 56², 64 → 64        | 784   | 171, 118, 246                   | 136, 115, 265   |
 * | 1, 28², 128 → 128      | 196   | 137, 119, 94                    | 116, 114, 208   |
 *
 * Few tiles do not amortise the transform of the filter.
 */
function winogradWins({ kind, correlation }: Conv): boolean {
  const { images, source, target, phases } = correlation;
  if (!winogradPays(correlation) || source[2] * target[2] < 512) return false;
  const [phase] = phases;
  if (phase === undefined) return false;
  const tiles = images * Math.ceil(phase.row.count / 2) * Math.ceil(phase.column.count / 2);
  return kind === "filterGrad" ? tiles >= 128 : tiles >= 256 && source[2] * target[2] < 512 ** 2;
}

/**
 * Input gradients that WebAssembly, direct: few image channels (3 → 16 at 32²: 43, 31; 6 → 16, 5 × 5: 31, 29; 3 → 64,
 * 7 × 7, stride 2: 40, 41), and strided 1 × 1 with few channels (16 → 32: 64, 31; 32 → 64: 78, 49; but 64 → 128: 80, 192).
 */
function gradientIsSlow({ shapes: { image, filter }, attrs: { strides, groups } }: Conv): boolean {
  const [, r = 1, s = 1] = filter, channels = image[3] ?? 1;
  if (groups > 1) return false;
  return channels < 8 || r * s === 1 && strides.some((stride) => stride > 1) && channels < 64;
}
