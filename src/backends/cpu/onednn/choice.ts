/**
 * The choice, launch by launch, between WebAssembly and oneDNN. It depends on shapes alone. Each rule has the figures that
 * it follows: GFLOP/s of two cores of an EPYC 9004 (Zen 4), multiplications and additions of the convolution's definition,
 * as `bench/onednn_ways.ts` prints them.
 *
 * @module
 */
import type { Shape } from "../../../trace/dtype.ts";
import type { ConvAttrs } from "../../../trace/ops.ts";
import { type ConvShapes, isPointwise } from "../conv.ts";
import type { Correlation } from "../conv_geometry.ts";
import { winogradPays } from "../conv_winograd.ts";
import type { Floats } from "./maker.ts";

/**
 * Ways to compute a convolution or a gradient of one: WebAssembly; oneDNN's primitive on slices of the batch; a 1 × 1
 * convolution as oneDNN's product of matrices; Winograd's minimal filtering by WebAssembly with oneDNN's products.
 */
export type Way = "wasm" | "direct" | "product" | "winograd";

/** A convolution, or a gradient of one. */
export interface Conv {
  readonly kind: "forward" | "inputGrad" | "filterGrad";
  readonly dtype: Floats;
  readonly shapes: ConvShapes;
  readonly attrs: ConvAttrs;
  /** The correlation that it is, or the forward convolution's. */
  readonly correlation: Correlation;
}

/**
 * The fastest way to compute a convolution where oneDNN has a fast primitive for it. In bf16 that is the primitive, unless
 * it is a product of matrices or wrong: 403 to 494 GFLOP/s for the first shapes of the table below.
 */
export function wayOf(conv: Conv): Way {
  if (isPointwise(conv.shapes.filter, conv.attrs)) return pointwiseWay(conv);
  if (conv.dtype === "bf16") return gradientIsWrong(conv) ? "wasm" : "direct";
  if (winogradWins(conv)) return "winograd";
  return primitiveLoses(conv) ? "wasm" : "direct";
}

/**
 * Tests whether oneDNN's gradient of a bf16 filter may be wrong: 3.2 leaves stale numbers in the columns of taps that meet
 * only padding where it should store zeros (7 × 7 with stride 3 and padding 3 on 2 × 2 pixels). In f32 it stores them.
 */
function gradientIsWrong({ kind, shapes: { image, filter, y }, attrs }: Conv): boolean {
  const meets = (axis: 0 | 1, tap: number): boolean => {
    const first = tap * attrs.dilation[axis] - attrs.padding[axis][0], stride = attrs.strides[axis];
    const within = Math.max(0, Math.ceil(-first / stride)); // the first pixel of the result for which it is in the image
    return within < (y[1 + axis] ?? 0) && first + within * stride < (image[1 + axis] ?? 0);
  };
  const met = (axis: 0 | 1) => Array.from({ length: filter[1 + axis] ?? 0 }, (_, tap) => meets(axis, tap));
  return kind === "filterGrad" && !([0, 1] as const).every((axis) => met(axis).every((each) => each));
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
 * | 8, 4², 256 → 256       | 32    | 119, 259, 78                    | 97, 129, 157    |
 * | 1, 16², 32 → 32        | 64    | 88, 112, 42                     | 114, 112, 98    |
 *
 * Few tiles do not amortise the transform of the filter. From 256 × 256 channels on, transformed filters, tiles and sums
 * leave the second-level cache: within a step, 8, 14², 256 → 256 ran at 170.
 */
function winogradWins({ kind, correlation }: Conv): boolean {
  const { images, source, target, phases } = correlation;
  if (!winogradPays(correlation) || source[2] * target[2] < 512) return false;
  const [phase] = phases;
  if (phase === undefined) return false;
  const tiles = images * Math.ceil(phase.row.count / 2) * Math.ceil(phase.column.count / 2);
  const channels = source[2] * target[2];
  if (kind === "filterGrad") return tiles >= (channels < 128 ** 2 ? 128 : 32);
  return tiles >= 256 && channels < 256 ** 2;
}

/**
 * Tests whether WebAssembly is faster than oneDNN's primitive (WebAssembly, direct): for input gradients with few image
 * channels (3 → 16 at 32²: 43, 31; 6 → 16, 5 × 5: 31, 29; 3 → 64, 7 × 7, stride 2: 40, 41), or with few channels and
 * strided 1 × 1 taps (16 → 32: 64, 31; 32 → 64: 78, 49; but 64 → 128: 80, 192); and for strided 1 × 1 convolutions whose
 * filter, which has to be reordered, meets few pixels (1,024 → 2,048 to 32 pixels: 55, 36; 512 → 1,024 to 128: 86, 141).
 */
function primitiveLoses({ kind, shapes: { image, filter, y }, attrs: { strides, groups } }: Conv): boolean {
  const [, r = 1, s = 1] = filter, [, , , channels = 1] = image;
  const single = r * s === 1 && strides.some((stride) => stride > 1);
  if (groups > 1 || kind === "filterGrad") return false;
  if (kind === "inputGrad") return channels < 8 || single && channels < 64;
  return single && pixelsOf(y) < 64;
}

/**
 * A 1 × 1 convolution with stride 1 is a product of matrices, for which oneDNN takes the filter as it lies. Its
 * convolution has the filter reordered first, which is what most of the time goes to where a filter meets few pixels.
 *
 * | batch, image, channels | wasm, direct, product: forward | input gradient | filter gradient |
 * | ---------------------- | ------------------------------ | -------------- | --------------- |
 * | 8, 16², 64 → 256       | 84, 217, 221                   | 90, 223, 231   | 86, 224, 209    |
 * | 8, 16², 256 → 64       | 90, 223, 227                   | 84, 218, 226   | 88, 222, 220    |
 * | 8, 4², 256 → 1,024     | 89, 179, 198                   | 90, 193, 229   | 87, 167, 201    |
 * | 8, 2², 512 → 2,048     | 85, 67, 174                    | 82, 145, 179   | 73, 92, 200     |
 * | 8, 2², 2,048 → 512     | 84, 40, 168                    | 76, 137, 178   | 61, 71, 210     |
 */
function pointwiseWay({ kind, shapes: { y } }: Conv): Way {
  return kind === "filterGrad" && pixelsOf(y) > MOST_TERMS ? "direct" : "product";
}

const pixelsOf = ([images = 1, rows = 1, columns = 1]: Shape): number => images * rows * columns;

/** The most pixels that a product adds one after the other: slices of the batch add fewer, and round less. */
const MOST_TERMS = 4096;

/** Tests whether a product of matrices is large enough for oneDNN's calls: 32 × 64 × 64 takes 5 µs. */
export function productWins(operations: number): boolean {
  return operations >= 2e6;
}

/**
 * Tests whether products of this many operations are worth calls of several (WebAssembly, oneDNN): 96 of 65 × 65 × 64 58,
 * 101; 24 of 197 × 64 × 197 61, 103; 64 of 32 × 32 × 32 41, 60; but single ones of that size 5 µs each.
 */
export function productsWin(operations: number, batch: number): boolean {
  return operations >= 5e4 && batch * operations >= 4e6;
}
