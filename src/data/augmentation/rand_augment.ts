import { expectOptions, expectWhole, type Kinds } from "../../base/expect.ts";
import { iota, literal, where } from "../../trace/functions.ts";
import { bits, integers, split } from "../../trace/random.ts";
import type { Tensor } from "../../trace/tensor.ts";
import {
  autoContrast,
  brighten,
  contrast,
  equalize,
  extentsOf,
  factorOf,
  type ImageExtents,
  posterize,
  saturate,
  sharpen,
  solarize,
} from "./colour.ts";
import { allRows, type Rows, take } from "./rows.ts";

/** RandAugment (Cubuk et al., 2019, arXiv 1909.13719): a few changes, drawn for each image, all of one magnitude. */
export interface RandAugment {
  /** Changes of each image, one after another; default 2. */
  readonly ops?: number;
  /** Their magnitude, from 0 to 30; default 9. */
  readonly magnitude?: number;
}

const KINDS = { ops: "number?", magnitude: "number?" } as const satisfies Kinds<RandAugment>;

/** The strongest magnitude. */
const STRONGEST = 30;

/** Refuses options that RandAugment does not have. `what` begins the message. */
export function checkRandAugment(what: string, options: RandAugment): void {
  expectOptions(what, options, KINDS);
  expectWhole(`${what}: ops`, options.ops ?? 2, 0, 14);
  expectWhole(`${what}: magnitude`, options.magnitude ?? 9, 0, STRONGEST);
}

/** The changes, in torchvision's order. */
export const OPS = [
  "identity",
  "shearX",
  "shearY",
  "translateX",
  "translateY",
  "rotate",
  "brightness",
  "colour",
  "contrast",
  "sharpness",
  "posterize",
  "solarize",
  "autoContrast",
  "equalize",
] as const;

/** A change. */
export type Op = (typeof OPS)[number];

type Extents = Pick<ImageExtents, "height" | "width">;

const FINE = 2 ** 16;

/** The longest side of images whose pixels are moved: twice a place, times {@link FINE}, stays below 2³¹. */
export const LONGEST_MOVED = 2 ** 13;

/**
 * The place that a pixel is read from: rows of an affine map from a pixel to its source, both as the middle of a pixel
 * from the upper left corner, times 2¹⁶. They are torchvision's: shears keep that corner, rotations the centre,
 * translations are of whole pixels.
 */
function sourceOf(op: Op, share: number, { height, width }: Extents): readonly number[] {
  const shear = 0.3 * share;
  const shift = (extent: number) => Math.trunc(150 / 331 * extent * share);
  const angle = Math.PI / 6 * share;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [x, y] = [width / 2, height / 2];
  const maps: Partial<Record<Op, readonly number[]>> = {
    // affine() measures a centre of [0, 0] from the upper left corner
    shearX: [1, shear, 0, 0, 1, 0],
    shearY: [1, 0, 0, shear, 1, 0],
    translateX: [1, 0, -shift(width), 0, 1, 0],
    translateY: [1, 0, 0, 0, 1, -shift(height)],
    rotate: [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y],
  };
  return (maps[op] ?? [1, 0, 0, 0, 1, 0]).map((value) => Math.round(value * FINE));
}

/** Reads each pixel from the nearest source; black where that is outside of the image. */
function moved(images: Tensor, maps: Tensor): Tensor {
  const { batch, height, width, channels } = extentsOf(images);
  const coefficient = (i: number) => maps.slice([0, i], [batch, i + 1]).reshape(batch, 1, 1);
  const middle = (shape: readonly number[], axis: number) => iota(shape, axis).mul(2).add(1); // in halves
  const [x, y] = [middle([1, 1, width], 2), middle([1, height, 1], 1)];
  const source = (row: number) =>
    x.mul(coefficient(row)).add(y.mul(coefficient(row + 1))).add(coefficient(row + 2).mul(2)).shr(17);
  const [column, line] = [source(0), source(3)];
  const within = (place: Tensor, extent: number) => place.ge(0).cast("i32").mul(place.lt(extent).cast("i32"));
  const inside = within(column, width).mul(within(line, height)).eq(1);
  const place = iota([batch, 1, 1]).mul(height * width).add(line.mul(width)).add(column);
  const pixels = images.reshape(batch * height * width, channels).gather(where(inside, place, 0));
  return where(inside.reshape(batch, height, width, 1), pixels, 0);
}

/**
 * Applies a change to each image.
 *
 * @param images Bytes, i32 `[batch, height, width, channels]`.
 * @param ops The number of each image's change in {@link OPS}, i32 `[batch]`.
 * @param signs 1 or −1 for each image, i32 `[batch]`: the direction of changes that have one.
 * @param magnitude From 0 to 30.
 */
export function applyOps(images: Tensor, ops: Tensor, signs: Tensor, magnitude: number): Tensor {
  const extents = extentsOf(images);
  const { batch } = extents;
  const share = magnitude / STRONGEST;
  const table = OPS.flatMap((op) => [-1, 1].flatMap((sign) => sourceOf(op, sign * share, extents)));
  const row = ops.mul(2).add(signs.gt(0).cast("i32"));
  const image = moved(images, literal(table, [2 * OPS.length, 6], "i32").gather(row));
  const factor = signs.mul(factorOf(0.9 * share)).add(factorOf(1)).reshape(batch, 1, 1, 1);
  const changes: Partial<Record<Op, () => Tensor>> = {
    brightness: () => brighten(image, factor),
    colour: () => saturate(image, factor),
    contrast: () => contrast(image, factor),
    sharpness: () => sharpen(image, factor),
    posterize: () => posterize(image, Math.round(8 - 4 * share)),
    solarize: () => solarize(image, 255 * (1 - share)),
    autoContrast: () => autoContrast(image),
    equalize: () => equalize(image),
  };
  return OPS.reduce((result, op, number) => {
    const change = changes[op];
    return change === undefined ? result : where(ops.eq(number).reshape(batch, 1, 1, 1), change(), result);
  }, image);
}

/**
 * Changes each image at random by RandAugment, with torchvision's changes and magnitudes (0.29, `RandAugment` with
 * nearest pixels and black beyond the edge).
 *
 * @param images Bytes, i32 `[batch, height, width, channels]`.
 * @param key u32[2]; use a key once.
 * @param rows The images of a batch that these are; default all.
 */
export function randAugment(
  images: Tensor,
  key: Tensor,
  { ops = 2, magnitude = 9 }: RandAugment,
  rows: Rows = allRows(images),
): Tensor {
  const each = [rows.batch];
  return split(key, ops).reduce((image, one) => {
    const [which, direction] = split(one);
    if (which === undefined || direction === undefined) throw new Error("two keys were split");
    const signs = take(bits(direction, each), rows).and(1).cast("i32").mul(2).sub(1);
    return applyOps(image, take(integers(which, each, OPS.length), rows).cast("i32"), signs, magnitude);
  }, images);
}
