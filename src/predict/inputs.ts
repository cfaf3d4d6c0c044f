import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";
import type { LabelledArrays } from "../data/arrays.ts";
import { readImages } from "../data/augment.ts";
import type { ImagePart } from "../data/images.ts";
import type { PixelPart } from "../data/label_maps.ts";
import type { Signature } from "../data/signature.ts";
import { inputShape, type Model } from "../models/model.ts";
import { sizeOf } from "../trace/dtype.ts";
import { iota } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { Pixels } from "./batches.ts";

/**
 * An image to predict: its pixels as bytes `[height, width, channels]`; or, with a decoder, the path of a picture's file
 * or its content as a `Blob`, such as a request's or a `File`. A `Float32Array` is an input as the network takes it: a
 * vector, or a normalised image.
 */
export type Picture = Uint8Array | Float32Array | string | Blob;

/**
 * Images to predict at once: a list of them; `[images, height, width, channels]` as u8, or as f32 if they are normalised
 * already; vectors `[vectors, features]`; or a part of a data set, such as `images.test`.
 */
export type Pictures = readonly Picture[] | HostArray | ImagePart | PixelPart | LabelledArrays;

/**
 * The images of a list, an array or a part of a data set, one by one; at most `batch` are read at once. Errors begin with
 * `caller`.
 */
export async function* eachOf(
  caller: string,
  model: Model,
  images: Pictures,
  batch: number,
): AsyncGenerator<Picture> {
  expectImages(caller, images);
  if (images instanceof HostArray) yield* rowsOf(caller, model, images);
  else if (isList(images)) yield* images;
  else if ("x" in images || "images" in images) {
    const data = "x" in images ? images.x : images.images;
    const { count } = images;
    if (data.length !== count * sizeOf(inputShape(model))) {
      throw new LocalgradError(
        `${caller}: ${count} inputs of ${data.length} values; ${model.name} takes [${count},${
          inputShape(model)
        }]`,
      );
    }
    yield* rowsOf(caller, model, new HostArray(data, [count, ...inputShape(model)]));
  } else {
    await using reader = images.open();
    for (let first = 0; first < images.count; first += batch) {
      const indices = Uint32Array.from(
        { length: Math.min(batch, images.count - first) },
        (_, i) => first + i,
      );
      const made = await reader.read(indices);
      const pixels = "maps" in made ? made.images : made;
      const size = pixels.length / indices.length;
      for (let at = 0; at < pixels.length; at += size) yield pixels.subarray(at, at + size);
    }
  }
}

/** Refuses what is neither a list, nor an array, nor a part of a data set. */
function expectImages(caller: string, images: Picture | Pictures): void {
  if (isPicture(images)) throw new LocalgradError(`${caller}: takes images as a list; pass one as [image]`);
  const isObject = typeof images === "object" && images !== null;
  if (isObject && (Array.isArray(images) || ["data", "x", "images", "open"].some((name) => name in images))) {
    return;
  }
  throw new LocalgradError(
    `${caller}: takes a list of images, an array or a part of a data set, such as images.test, not ${
      shown(images)
    }`,
  );
}

/** The images of an array, which share its memory. */
function* rowsOf(caller: string, model: Model, { data, shape, dtype }: HostArray): Generator<Pixels> {
  const input = inputShape(model);
  const [count = 0, ...image] = shape;
  const isImage = input.length === 3;
  const known = data instanceof Float32Array || (isImage && data instanceof Uint8Array) ? data : undefined;
  if (String(image) !== String(input) || known === undefined) {
    const takes = isImage ? `[images,${input}] of u8, or of f32 if normalised` : `f32[vectors,${input}]`;
    const [height, width, channels] = input;
    const nchw = isImage && String(image) === `${channels},${height},${width}`
      ? ", which is NCHW; put the channels last, such as by x.transpose(0, 2, 3, 1) in a traced function"
      : "";
    throw new LocalgradError(`${caller}: ${model.name} takes ${takes}, not ${dtype}[${shape}]${nchw}`);
  }
  const size = sizeOf(input);
  for (let i = 0; i < count; i++) yield known.subarray(i * size, (i + 1) * size);
}

/** Refuses an input in values of another number than the network's. */
export function expectInput(caller: string, model: Model, image: Pixels): void {
  const input = inputShape(model);
  const isImage = input.length === 3;
  if (image.length === sizeOf(input) && (isImage || image instanceof Float32Array)) return;
  if (!isImage) {
    throw new LocalgradError(
      `${caller}: a vector is a Float32Array of ${input} values, not ${shown(image)} of ${image.length}`,
    );
  }
  throw new LocalgradError(
    image instanceof Uint8Array
      ? `${caller}: an image has ${image.length} bytes; ${model.name} takes ${input.join("×")}; pass ` +
        `the content of a picture's file as a Blob, with a decoder`
      : `${caller}: an image has ${image.length} elements of f32; ${model.name} takes ${
        input.join("×")
      }; pass several ` +
        `images as a list, or as an array [images, height, width, channels]`,
  );
}

/** Normalises bytes as in evaluation. */
export function normalised(bytes: Tensor, signature: Signature): Tensor {
  const indices = iota(bytes.shape.slice(0, 1), 0, "u32");
  return readImages([{ first: 0, bytes }], indices, signature).x;
}

export function isPicture(images: Picture | Pictures): images is Picture {
  return typeof images === "string" || images instanceof Blob ||
    images instanceof Uint8Array || images instanceof Float32Array;
}

function isList(images: Exclude<Pictures, HostArray>): images is readonly Picture[] {
  return Array.isArray(images);
}

/** RGB pixels for a network of 3 channels, or their brightness for one of 1 (ITU-R 601-2, as Pillow's "L"). */
export function inChannels(caller: string, rgb: Uint8Array, channels: number, model: string): Uint8Array {
  if (channels === 3) return rgb;
  if (channels !== 1) {
    throw new LocalgradError(
      `${caller}: ${model} takes ${channels} channels, which pictures do not have; pass bytes`,
    );
  }
  const grey = new Uint8Array(rgb.length / 3);
  for (let i = 0; i < grey.length; i++) {
    const [red = 0, green = 0, blue = 0] = rgb.subarray(3 * i, 3 * i + 3);
    grey[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  return grey;
}
