/**
 * Changes of colour, in whole numbers alone, so that every backend gives the same bits. Pixels are bytes as i32
 * `[batch, height, width, channels]`; factors are i32 `[batch, 1, 1, 1]`, in units of 1 / {@link ONE}. They follow
 * torchvision 0.29 (`transforms.v2.functional`), whose results on bytes they equal or differ from by one.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { full, iota, literal, stack, where } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";

/** The factor 1. */
export const ONE = 4096;

const SHIFT = 12; // ONE = 2¹²

/** A number as a factor. */
export const factorOf = (value: number): number => Math.round(value * ONE);

/** Bytes from 0 to 255. */
export function bytes(x: Tensor): Tensor {
  return x.maximum(0).minimum(255);
}

/** `factor` of one image and the rest of another; beyond 1 away from it. Rounded down, as torchvision's conversion does. */
function blend(image: Tensor, other: Tensor, factor: Tensor): Tensor {
  return bytes(image.mul(factor).add(other.mul(factor.neg().add(ONE))).shr(SHIFT));
}

/** Brightness times a factor. */
export function brighten(image: Tensor, factor: Tensor): Tensor {
  return bytes(image.mul(factor).shr(SHIFT));
}

/** The extents of a batch of images. */
export interface ImageExtents {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** The extents of images `[batch, height, width, channels]`. */
export function extentsOf({ shape }: Tensor): ImageExtents {
  return { batch: at(shape, 0), height: at(shape, 1), width: at(shape, 2), channels: at(shape, 3) };
}

/** A channel, `[batch, height, width, 1]`. */
function channel(image: Tensor, index: number): Tensor {
  const { batch, height, width } = extentsOf(image);
  return image.slice([0, 0, 0, index], [batch, height, width, index + 1]);
}

/** Weights of red, green and blue in the brightness of a pixel (ITU-R 601-2), in units of 2⁻²⁰. */
const BRIGHTNESS = [0.2989, 0.587, 0.114].map((weight) => Math.round(weight * 2 ** 20));

/** The brightness of each pixel, `[batch, height, width, 1]`. */
export function grey(image: Tensor): Tensor {
  if (extentsOf(image).channels === 1) return image;
  return BRIGHTNESS.map((weight, index) => channel(image, index).mul(weight)).reduce((sum, part) =>
    sum.add(part)
  )
    .shr(20);
}

/** Saturation times a factor; images of one channel stay as they are. */
export function saturate(image: Tensor, factor: Tensor): Tensor {
  return extentsOf(image).channels === 1 ? image : blend(image, grey(image), factor);
}

/** The most pixels of an image: sums stay below 2³¹. */
export const MOST_PIXELS = 2 ** 19;

/** Contrast times a factor below 4: the distance of each pixel from the mean brightness of its image. */
export function contrast(image: Tensor, factor: Tensor): Tensor {
  const { height, width } = extentsOf(image);
  const pixels = height * width;
  const finer = pixels <= 2 ** 15 ? 8 : 4; // bits of the mean below 1
  const sum = grey(image).sum([1, 2, 3], { keepDims: true });
  const mean = sum.shl(finer).add(pixels >> 1).div(pixels);
  return bytes(image.mul(factor).shl(finer).add(mean.mul(factor.neg().add(ONE))).shr(SHIFT + finer));
}

/** A turn of the colour circle, in the units of {@link shiftHue}: six sectors. */
export const TURN = 6 * ONE;

/**
 * Turns the hue by a part of the colour circle, `[batch, 1, 1, 1]` in units of 1 / {@link TURN}, from −TURN to TURN.
 * Images of one channel stay as they are.
 */
export function shiftHue(image: Tensor, turn: Tensor): Tensor {
  if (extentsOf(image).channels === 1) return image;
  const [red, green, blue] = [channel(image, 0), channel(image, 1), channel(image, 2)];
  const most = red.maximum(green).maximum(blue);
  const range = most.sub(red.minimum(green).minimum(blue));
  const within = (a: Tensor, b: Tensor) => a.sub(b).mul(ONE).div(range.maximum(1));
  const hue = where(
    red.eq(most),
    within(green, blue),
    where(green.eq(most), within(blue, red).add(2 * ONE), within(red, green).add(4 * ONE)),
  ).add(turn).add(2 * TURN);
  // Smith, "Color gamut transform pairs" (SIGGRAPH 1978): a channel falls from the largest value by a share of the range.
  const turned = [5, 3, 1].map((sector) => {
    const place = hue.add(sector * ONE).rem(TURN);
    const fall = place.minimum(place.neg().add(4 * ONE)).maximum(0).minimum(ONE);
    return most.mul(ONE).sub(range.mul(fall));
  });
  // torchvision's conversion to bytes multiplies by 255.999 and rounds down.
  return stack(turned.map((value) => value.reshape(...value.shape.slice(0, 3))), 3).mul(1028).shr(SHIFT + 10);
}

/** Keeps only the highest `bits` of each value. */
export function posterize(image: Tensor, bits: number): Tensor {
  return image.and(256 - 2 ** (8 - bits));
}

/** Inverts values of at least `threshold`, which is rounded to f32, as PyTorch rounds it. */
export function solarize(image: Tensor, threshold: number): Tensor {
  return where(image.ge(Math.ceil(Math.fround(threshold))), image.neg().add(255), image);
}

/** Stretches each channel to the range from 0 to 255. */
export function autoContrast(image: Tensor): Tensor {
  const least = image.min([1, 2], { keepDims: true });
  const range = image.max([1, 2], { keepDims: true }).sub(least);
  return where(range.eq(0), image, image.sub(least).mul(255).div(range.maximum(1)));
}

/** Makes the histogram of each channel as flat as possible, as Pillow's `ImageOps.equalize` does. */
export function equalize(image: Tensor): Tensor {
  const { batch, height, width, channels } = extentsOf(image);
  const pixels = height * width;
  const level = literal(Array.from({ length: 256 }, (_, value) => value), [1, 1, 256, 1], "i32");
  const flat = image.reshape(batch, pixels, 1, channels);
  const below = flat.lt(level).cast("i32").sum(1); // [batch, 256, channels]
  const most = image.max([1, 2], { keepDims: true });
  const brightest = image.eq(most).cast("i32").sum([1, 2]).reshape(batch, 1, channels);
  const step = brightest.neg().add(pixels).div(255);
  const table = bytes(below.add(step.shr(1)).div(step.maximum(1))).reshape(batch * 256 * channels);
  const rows = literal(Array.from({ length: channels }, (_, index) => index), [1, 1, channels], "i32")
    .add(image.reshape(batch, pixels, channels).mul(channels));
  const first = iota([batch]).mul(256 * channels).reshape(batch, 1, 1);
  const equal = table.gather(rows.add(first)).reshape(...image.shape);
  return where(step.eq(0).reshape(batch, 1, 1, channels), image, equal);
}

/** Sharpness times a factor: the distance of each pixel from a smoothed image; pixels at the border stay as they are. */
export function sharpen(image: Tensor, factor: Tensor): Tensor {
  const { batch, height, width, channels } = extentsOf(image);
  if (height <= 2 || width <= 2) return image;
  const shifted = (down: number, right: number) =>
    image.slice([0, down, right, 0], [batch, down + height - 2, right + width - 2, channels]);
  const rows = (right: number) =>
    [0, 1, 2].map((down) => shifted(down, right)).reduce((sum, row) => sum.add(row));
  const inner = shifted(1, 1);
  const sum = [0, 1, 2].map(rows).reduce((sum, column) => sum.add(column)).add(inner.mul(4));
  const smooth = sum.mul(2).add(13).div(26); // sum / 13, rounded
  const within = (x: Tensor) => x.pad([0, 1, 1, 0], [0, 1, 1, 0]);
  const isInner = within(full([1, height - 2, width - 2, 1], 1, "i32")).eq(1);
  return where(isInner, within(blend(inner, smooth, factor)), image);
}
