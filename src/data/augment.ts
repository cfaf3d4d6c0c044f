import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectWhole } from "../base/expect.ts";
import { formatAval, type Shape } from "../trace/dtype.ts";
import { concat, iota, literal, where } from "../trace/functions.ts";
import { bits, integers, split } from "../trace/random.ts";
import { expectTensor, type Tensor } from "../trace/tensor.ts";
import { type Augmentation, checkAugmentation } from "./augmentation/augmentation.ts";
import { erased } from "./augmentation/erase.ts";
import { jitterColours } from "./augmentation/jitter.ts";
import { drawMixing, type DrawnMixing } from "./augmentation/mix.ts";
import { randAugment } from "./augmentation/rand_augment.ts";
import type { Rows } from "./augmentation/rows.ts";

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

/**
 * Reads a batch of images from shards of bytes, in a traced function. With a key the images are augmented: padded (by
 * default with 4 reflected pixels), cropped at random to their own size, and half of them mirrored; and whatever else
 * the augmentation says. No padded image is materialised: each pixel is gathered from its source.
 *
 * @param shards Consecutive parts of the set, u8 `[images, height, width, channels]` each.
 * @param indices Indices of the batch's images in the set: u32 `[batch]`.
 * @param statistics Mean and standard deviation of each channel.
 * @param key Random key, u32 `[2]`; without one, images are not augmented.
 * @param augmentation By default that of CIFAR-10.
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
  const fill = statistics.mean.map((value) => Math.round(255 * value));
  const images = readPixels(shards, indices, key, augmentation, rows, fill).mul(1 / 255);
  return { x: normalize(images, statistics), images };
}

/**
 * Reads a batch of images from shards, as {@link readImages} does, without a change of their range.
 *
 * @param shards Consecutive parts of the set, u8 or f32 `[images, height, width, channels]` each.
 * @param fill The colour of erased boxes, by channel or for all; default 0.
 * @returns f32 `[batch, height, width, channels]`.
 */
export function readPixels(
  shards: readonly Shard[],
  indices: Tensor,
  key: Tensor | undefined,
  augmentation: Augmentation,
  rows?: { readonly from: number; readonly to: number },
  fill: readonly number[] = [0],
): Tensor {
  const first = at(shards, 0);
  const extents = extentsOf(first);
  const batch = at(indices.shape, 0);
  const { from, to } = rows ?? { from: 0, to: batch };
  expectWhole("readImages: rows.from", from, 0, batch - 1);
  expectWhole("readImages: rows.to", to, from + 1, batch);
  if (key === undefined) {
    const positions = iota([1, extents.height * extents.width], 1).reshape(1, extents.height, extents.width);
    return gatherPixels(shards, indices.slice([from], [to]).cast("i32"), positions);
  }
  const bytes = first.bytes.dtype === "u8";
  checkAugmentation("readImages: the augmentation", augmentation, { ...extents, bytes });
  const read = (from: number, to: number) =>
    augmented(shards, indices, key, augmentation, { from, to }, fill);
  const own = read(from, to);
  const mixing = mixingOf(key, augmentation, extents);
  if (mixing === undefined) return own;
  const { shape: [count = 0, ...rest] } = own;
  const slice = (from: number, to: number) => own.slice([from, 0, 0, 0], [to, ...rest]);
  const before = count === batch
    ? slice(count - 1, count)
    : from === 0
    ? read(batch - 1, batch)
    : read(from - 1, from);
  return mixing.mix(own, count === 1 ? before : concat([before, slice(0, count - 1)]));
}

/** The keys of a batch: of crops and flips, RandAugment, colours, boxes and mixing. The first two are `split(key)`. */
function keysOf(key: Tensor) {
  const [crop, flip, changes, colours, boxes, mixing] = split(key, 6);
  if (!crop || !flip || !changes || !colours || !boxes || !mixing) throw new Error("six keys were split");
  return { changes, colours, boxes, mixing };
}

/** How a batch is mixed that `key` augments; undefined if it is not. */
export function mixingOf(
  key: Tensor,
  { mix }: Augmentation,
  extents: { readonly height: number; readonly width: number },
): DrawnMixing | undefined {
  return mix === undefined ? undefined : drawMixing(keysOf(key).mixing, extents, mix);
}

/** Changes the colours of bytes, and their places by RandAugment. */
function recoloured(
  pixels: Tensor,
  keys: ReturnType<typeof keysOf>,
  { randAugment: changes, colourJitter }: Augmentation,
  rows: Rows,
): Tensor {
  if (changes === undefined && colourJitter === undefined) return pixels;
  const bytes = pixels.cast("i32");
  const changed = changes === undefined ? bytes : randAugment(bytes, keys.changes, changes, rows);
  return (colourJitter === undefined ? changed : jitterColours(changed, keys.colours, colourJitter, rows))
    .cast("f32");
}

/** Reads some images of a batch, augmented each by itself. */
function augmented(
  shards: readonly Shard[],
  indices: Tensor,
  key: Tensor,
  augmentation: Augmentation,
  { from, to }: { readonly from: number; readonly to: number },
  fill: readonly number[],
): Tensor {
  const { height, width } = extentsOf(at(shards, 0));
  const batch = at(indices.shape, 0);
  // Random numbers are drawn for the whole batch, so that they do not depend on how it is divided.
  const positions = cropPositions(key, batch, height, width, augmentation).slice([from, 0, 0], [
    to,
    height,
    width,
  ]);
  const cropped = gatherPixels(shards, indices.slice([from], [to]).cast("i32"), positions);
  const black = augmentation.fill === "zero" && augmentation.border > 0;
  const pixels = black ? where(positions.ge(0).reshape(...positions.shape, 1), cropped, 0) : cropped;
  const { randAugment: changes, colourJitter, erase } = augmentation;
  if (changes === undefined && colourJitter === undefined && erase === undefined) return pixels;
  const keys = keysOf(key);
  const changed = recoloured(pixels, keys, augmentation, { batch, from, to });
  if (erase === undefined) return changed;
  const boxes = erased(keys.boxes, batch, { height, width }, erase).slice([from, 0, 0, 0], [
    to,
    height,
    width,
    1,
  ]);
  return where(boxes, literal(fill, [1, 1, 1, fill.length]), changed);
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
