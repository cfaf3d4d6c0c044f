import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import type { Shape } from "../trace/dtype.ts";
import { iota, literal, where } from "../trace/functions.ts";
import { bits, integers, split } from "../trace/random.ts";
import { expectTensor, type Tensor } from "../trace/tensor.ts";
import type { Augmentation } from "./images.ts";

/** Part of a set of images on a device: u8 `[images, height, width, channels]`. */
export interface Shard {
  /** The number of its first image. */
  readonly first: number;
  /** Its pixels. */
  readonly bytes: Tensor;
}

/** How the pixels of a set are scaled: see `ImageDataset`. */
export interface Statistics {
  /** Mean of each channel, where a byte's 255 is 1. */
  readonly mean: readonly number[];
  /** Standard deviation of each channel, in the same units. */
  readonly std: readonly number[];
}

/** CIFAR-10's in InfoPro, MAN and their kin. */
export const CIFAR_AUGMENTATION: Augmentation = { border: 4, fill: "reflect", flip: true };

/**
 * The images at `indices` (u32 `[batch]`), read from shards of bytes within a traced function: `images` in [0, 1] and
 * `x` normalised, both f32 `[batch, height, width, channels]`. Where a key (u32[2]) is given they are augmented: a
 * border is added, by default 4 pixels of reflection, a crop of the image's own size is taken at random from the
 * result, and half of the crops are mirrored. No padded image is ever made: the pixels are gathered from where each
 * one came.
 */
export function readImages(
  shards: readonly Shard[],
  indices: Tensor,
  statistics: Statistics,
  key?: Tensor,
  augmentation: Augmentation = CIFAR_AUGMENTATION,
): { x: Tensor; images: Tensor } {
  expectKind("readImages: the shards", shards, "array");
  for (const shard of shards) expectKind("readImages: a shard", shard, "object");
  expectTensor("readImages", ...shards.map(({ bytes }) => bytes), indices);
  if (shards.length === 0) throw new LocalgradError("readImages: needs at least one shard");
  const [, height, width] = shards[0].bytes.shape;
  const positions = key === undefined
    ? iota([1, height * width], 1).reshape(1, height, width)
    : cropPositions(key, indices.shape[0], height, width, augmentation);
  const pixels = gatherPixels(shards, indices.cast("i32"), positions);
  const black = key !== undefined && augmentation.fill === "zero" && augmentation.border > 0;
  const shown = black ? where(positions.ge(0).reshape(...positions.shape, 1), pixels, 0) : pixels;
  const images = shown.mul(1 / 255);
  return { x: normalize(images, statistics), images };
}

/** Images in [0, 1] on the scale a network takes. */
export function normalize(images: Tensor, { mean, std }: Statistics): Tensor {
  expectTensor("normalize", images);
  return images.sub(literal(mean)).div(literal(std));
}

/**
 * Which pixel (row × width + column) each place of a randomly cropped and mirrored image shows: i32
 * `[batch, height, width]`; −1 for a black border.
 */
export function cropPositions(
  key: Tensor,
  batch: number,
  height: number,
  width: number,
  { border, fill, flip }: Augmentation = CIFAR_AUGMENTATION,
): Tensor {
  const [cropKey, flipKey] = split(key);
  const shifts = integers(cropKey, [batch, 2], 2 * border + 1).cast("i32").sub(border);
  const shift = (axis: number) => shifts.slice([0, axis], [batch, axis + 1]).reshape(batch, 1, 1);
  const column = iota([1, 1, width], 2);
  const mirrored = () =>
    where(bits(flipKey, [batch, 1, 1]).and(1).eq(1), column.neg().add(width - 1), column);
  const row = iota([1, height, 1], 1).add(shift(0));
  const place = (flip ? mirrored() : column).add(shift(1));
  if (fill === "reflect") return reflect(row, height).mul(width).add(reflect(place, width));
  const within = (at: Tensor, extent: number) => at.ge(0).cast("i32").mul(at.lt(extent).cast("i32"));
  const inside = within(row, height).mul(within(place, width)).eq(1);
  return where(inside, row.mul(width).add(place), -1);
}

/** Folds places beyond either end of an axis back into it, the edge itself not repeated. */
function reflect(place: Tensor, extent: number): Tensor {
  const last = extent - 1;
  return place.abs().sub(last).abs().neg().add(last);
}

/** Pixels as f32 in 0 … 255: `[batch, height, width, channels]`. */
function gatherPixels(shards: readonly Shard[], indices: Tensor, positions: Tensor): Tensor {
  const batch = indices.shape[0];
  return shards.map(({ first, bytes }) => {
    const [count, height, width, channels] = bytes.shape;
    const local = indices.sub(first).reshape(batch, 1, 1);
    // An image of another shard reads any pixel here (indices are clamped), which is then not chosen.
    const rows = local.mul(height * width).add(positions);
    return { local, pixels: bytes.reshape(count * height * width, channels).gather(rows) };
  }).reduce((before, shard) => {
    const shape: Shape = [batch, 1, 1, 1];
    return { ...shard, pixels: where(shard.local.reshape(...shape).ge(0), shard.pixels, before.pixels) };
  }).pixels;
}
