import type { Shape } from "../trace/dtype.ts";
import { iota, literal, where } from "../trace/functions.ts";
import { bits, integers, split } from "../trace/random.ts";
import type { Tensor } from "../trace/tensor.ts";

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

/** Rows and columns of reflected border that a crop is taken from, as for CIFAR-10 in InfoPro, MAN and their kin. */
const BORDER = 4;

/**
 * The images at `indices` (u32 `[batch]`), read from shards of bytes within a traced function: `images` in [0, 1] and
 * `x` normalised, both f32 `[batch, height, width, channels]`. Where a key (u32[2]) is given they are augmented: a
 * border of 4 pixels is reflected, a crop of the image's own size is taken at random from the result, and half of the
 * crops are mirrored. No padded image is ever made: the pixels are gathered from where each one came.
 */
export function readImages(
  shards: readonly Shard[],
  indices: Tensor,
  statistics: Statistics,
  key?: Tensor,
): { x: Tensor; images: Tensor } {
  const [, height, width] = shards[0].bytes.shape;
  const positions = key === undefined
    ? iota([1, height * width], 1).reshape(1, height, width)
    : cropPositions(key, indices.shape[0], height, width);
  const images = gatherPixels(shards, indices.cast("i32"), positions).mul(1 / 255);
  const x = images.sub(literal(statistics.mean)).div(literal(statistics.std));
  return { x, images };
}

/**
 * Which pixel (row × width + column) each place of a randomly cropped and mirrored image shows: i32
 * `[batch, height, width]`.
 */
export function cropPositions(key: Tensor, batch: number, height: number, width: number): Tensor {
  const [cropKey, flipKey] = split(key);
  const shifts = integers(cropKey, [batch, 2], 2 * BORDER + 1).cast("i32").sub(BORDER);
  const flipped = bits(flipKey, [batch, 1, 1]).and(1).eq(1);
  const shift = (axis: number) => shifts.slice([0, axis], [batch, axis + 1]).reshape(batch, 1, 1);
  const column = iota([1, 1, width], 2);
  const rows = reflect(iota([1, height, 1], 1).add(shift(0)), height);
  const columns = reflect(where(flipped, column.neg().add(width - 1), column).add(shift(1)), width);
  return rows.mul(width).add(columns);
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
