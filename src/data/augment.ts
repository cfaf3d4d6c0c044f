import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectObject, expectWhole, shown } from "../base/expect.ts";
import { formatAval, type Shape } from "../trace/dtype.ts";
import { iota, literal, where } from "../trace/functions.ts";
import { bits, integers, split } from "../trace/random.ts";
import { expectTensor, type Tensor } from "../trace/tensor.ts";
import type { Augmentation } from "./images.ts";

/** A part of a set of images on a device: u8 `[images, height, width, channels]`. */
export interface Shard {
  /** The index of its first image in the set. */
  readonly first: number;
  /** Its pixels. */
  readonly bytes: Tensor;
}

/** Statistics that pixels are normalised with: see `ImageDataset`. */
export interface Statistics {
  /** Mean of each channel, on a scale where byte 255 is 1. */
  readonly mean: readonly number[];
  /** Standard deviation of each channel, on the same scale. */
  readonly std: readonly number[];
}

/** Augmentation of CIFAR-10 in InfoPro, MAN and related papers. */
export const CIFAR_AUGMENTATION: Augmentation = { border: 4, fill: "reflect", flip: true };

/** Refuses an augmentation that images of a size cannot have. `what`, such as `fit: the augmentation`, begins the message. */
export function checkAugmentation(
  what: string,
  augmentation: Augmentation,
  { height, width }: { readonly height: number; readonly width: number },
): void {
  expectObject(what, augmentation, { border: "number", fill: "string", flip: "boolean" });
  const { border, fill } = augmentation;
  expectWhole(`${what}: border`, border, 0);
  if (fill !== "reflect" && fill !== "zero") {
    throw new LocalgradError(`${what}: fill must be "reflect" or "zero", not ${shown(fill)}`);
  }
  if (border === 0 || fill === "zero" || border < Math.min(height, width)) return;
  throw new LocalgradError(
    `${what}: images of ${height}×${width} have no ${border} pixels to reflect beside an edge; choose a smaller border, ` +
      'or fill: "zero"',
  );
}

/**
 * Reads a batch of images from shards of bytes, in a traced function. With a key the images are augmented: padded (by
 * default with 4 reflected pixels), cropped at random to their own size, and half of them mirrored. No padded image is
 * materialised: each pixel is gathered from its source.
 *
 * @param shards Consecutive parts of the set, u8 `[images, height, width, channels]` each.
 * @param indices Indices of the batch's images in the set: u32 `[batch]`.
 * @param statistics Mean and standard deviation of each channel.
 * @param key Random key, u32 `[2]`; without one, images are not augmented.
 * @param augmentation Padding and mirroring; by default those of CIFAR-10.
 * @param rows The images of the batch to read, from one to before another; default all. Each is augmented as in the whole
 * batch.
 * @returns `images` in [0, 1] and `x` normalised, both f32 `[batch, height, width, channels]`.
 */
export function readImages(
  shards: readonly Shard[],
  indices: Tensor,
  statistics: Statistics,
  key?: Tensor,
  augmentation: Augmentation = CIFAR_AUGMENTATION,
  rows?: { readonly from: number; readonly to: number },
): { x: Tensor; images: Tensor } {
  expectKind("readImages: the shards", shards, "array");
  for (const shard of shards) expectKind("readImages: a shard", shard, "object");
  expectTensor("readImages", ...shards.map(({ bytes }) => bytes), indices);
  const [first] = shards;
  if (first === undefined) throw new LocalgradError("readImages: needs at least one shard");
  const other = shards.find(({ bytes }) => bytes.dtype !== "u8" || bytes.rank !== 4);
  if (other !== undefined) {
    throw new LocalgradError(
      `readImages: a shard is ${
        formatAval(other.bytes)
      }; shards are bytes from 0 to 255, u8[images,height,width,channels]`,
    );
  }
  const images = readPixels(shards, indices, key, augmentation, rows).mul(1 / 255);
  return { x: normalize(images, statistics), images };
}

/**
 * Reads a batch of images from shards, as {@link readImages} does, without a change of their values.
 *
 * @param shards Consecutive parts of the set, u8 or f32 `[images, height, width, channels]` each.
 * @returns f32 `[batch, height, width, channels]`.
 */
export function readPixels(
  shards: readonly Shard[],
  indices: Tensor,
  key: Tensor | undefined,
  augmentation: Augmentation,
  rows?: { readonly from: number; readonly to: number },
): Tensor {
  const { height, width } = extentsOf(at(shards, 0));
  if (key !== undefined) checkAugmentation("readImages: the augmentation", augmentation, { height, width });
  const batch = at(indices.shape, 0);
  const { from, to } = rows ?? { from: 0, to: batch };
  expectWhole("readImages: rows.from", from, 0, batch - 1);
  expectWhole("readImages: rows.to", to, from + 1, batch);
  // Random numbers are drawn for the whole batch, so that they do not depend on how it is divided.
  const positions = key === undefined
    ? iota([1, height * width], 1).reshape(1, height, width)
    : cropPositions(key, batch, height, width, augmentation).slice([from, 0, 0], [to, height, width]);
  const pixels = gatherPixels(shards, indices.slice([from], [to]).cast("i32"), positions);
  const black = key !== undefined && augmentation.fill === "zero" && augmentation.border > 0;
  return black ? where(positions.ge(0).reshape(...positions.shape, 1), pixels, 0) : pixels;
}

/** The extents of a shard's pixels. */
function extentsOf({ bytes: { shape } }: Shard): Record<"count" | "height" | "width" | "channels", number> {
  return { count: at(shape, 0), height: at(shape, 1), width: at(shape, 2), channels: at(shape, 3) };
}

/** Normalises images in [0, 1] by the mean and standard deviation of each channel. */
function normalize(images: Tensor, { mean, std }: Statistics): Tensor {
  expectTensor("normalize", images);
  return images.sub(literal(mean)).div(literal(std));
}

/**
 * The source pixel (row × width + column) of each pixel of randomly cropped and mirrored images: i32
 * `[batch, height, width]`; −1 in a black border.
 */
export function cropPositions(
  key: Tensor,
  batch: number,
  height: number,
  width: number,
  { border, fill, flip }: Augmentation = CIFAR_AUGMENTATION,
): Tensor {
  const keys = split(key);
  const shifts = integers(at(keys, 0), [batch, 2], 2 * border + 1).cast("i32").sub(border);
  const shift = (axis: number) => shifts.slice([0, axis], [batch, axis + 1]).reshape(batch, 1, 1);
  const column = iota([1, 1, width], 2);
  const mirrored = () =>
    where(bits(at(keys, 1), [batch, 1, 1]).and(1).eq(1), column.neg().add(width - 1), column);
  const row = iota([1, height, 1], 1).add(shift(0));
  const source = (flip ? mirrored() : column).add(shift(1));
  if (fill === "reflect") return reflect(row, height).mul(width).add(reflect(source, width));
  const within = (place: Tensor, extent: number) => place.ge(0).cast("i32").mul(place.lt(extent).cast("i32"));
  const inside = within(row, height).mul(within(source, width)).eq(1);
  return where(inside, row.mul(width).add(source), -1);
}

/** Reflects positions beyond either end of an axis back into it, without repeating the edge. */
function reflect(place: Tensor, extent: number): Tensor {
  const last = extent - 1;
  return place.abs().sub(last).abs().neg().add(last);
}

/** Gathers pixels, of bytes from 0 to 255: `[batch, height, width, channels]`. */
export function gatherPixels(shards: readonly Shard[], indices: Tensor, positions: Tensor): Tensor {
  const batch = at(indices.shape, 0);
  return shards.map((shard) => {
    const { count, height, width, channels } = extentsOf(shard);
    const local = indices.sub(shard.first).reshape(batch, 1, 1);
    // Images of other shards read some pixel here, because indices are clamped; `where` below discards it.
    const rows = local.mul(height * width).add(positions);
    return { local, pixels: shard.bytes.reshape(count * height * width, channels).gather(rows) };
  }).reduce((before, shard) => {
    const shape: Shape = [batch, 1, 1, 1];
    return { ...shard, pixels: where(shard.local.reshape(...shape).ge(0), shard.pixels, before.pixels) };
  }).pixels;
}
