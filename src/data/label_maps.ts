import { LocalgradError } from "../base/errors.ts";
import { expectKind, type Kinds, shown } from "../base/expect.ts";
import type { Key } from "../base/random.ts";
import { IGNORED } from "../models/model.ts";
import { at } from "../base/at.ts";
import { iota, where } from "../trace/functions.ts";
import { expectTensor, type Tensor } from "../trace/tensor.ts";
import { cropPositions, gatherPixels, type Shard } from "./augment.ts";
import type { Augmentation, ImageReader } from "./images.ts";
import { type Signature, SIGNATURE_KINDS } from "./signature.ts";

/** Images of one size with the label of each pixel, in memory on the host. */
export interface LabelledPixels {
  /** Pixels as bytes: `[count, height, width, channels]`, row-major. */
  readonly images: Uint8Array;
  /** The class of each pixel, 255 if it has none: `[count, height, width]`. */
  readonly maps: Uint8Array;
  /** Number of images. */
  readonly count: number;
}

/** Images with label maps that are produced on demand, such as by decoding files. */
export interface StreamedPixels {
  /** Number of images. */
  readonly count: number;
  /** Opens a reader. */
  open(): PixelReader;
}

/** Reads images with their label maps, as {@link ImageReader} reads images. */
export interface PixelReader extends AsyncDisposable, Pick<ImageReader, "ahead" | "done"> {
  /**
   * Reads the images at `indices` as bytes, `[indices, height, width, channels]`, and their label maps,
   * `[indices, height, width]`. With a key both are cropped and mirrored alike, the same way for the same key.
   */
  read(indices: Uint32Array, key?: Key): Promise<Pick<LabelledPixels, "images" | "maps">>;
}

/** A part of a data set of labelled pixels: in memory, or read on demand. */
export type PixelPart = LabelledPixels | StreamedPixels;

/** A data set for segmentation on the host: images of one size with a label map each. */
export interface PixelDataset<Part extends PixelPart = LabelledPixels> extends Signature {
  /** Tells it from data sets with a label for each image. */
  readonly task: "segmentation";
  /** Its name in messages and reports. */
  readonly name: string;
  /**
   * Augmentation of training images and their maps; default: half of them mirrored. Padding has no class unless it is
   * reflected. RandAugment, erasing and mixing are refused, because maps do not follow them. Streamed images are cropped
   * and mirrored by their reader.
   */
  readonly augmentation?: Augmentation;
  /** Training images. */
  readonly train: Part;
  /** Test images, if any. */
  readonly test?: Part;
}

/** The properties of a data set of labelled pixels, to check one from a user. */
export const PIXEL_SET_KINDS = {
  ...SIGNATURE_KINDS,
  task: "string",
  name: "string",
  augmentation: "object?",
  train: "object",
  test: "object?",
} as const satisfies Kinds<PixelDataset>;

/** Augmentation of labelled pixels by default: half of the images are mirrored. */
export const MIRRORED: Augmentation = { border: 0, fill: "reflect", flip: true };

/**
 * Reads the label maps of a batch from shards of bytes, in a traced function: cropped and mirrored as `readImages` does their
 * images with the same key and augmentation. Pixels in a black border are 255.
 *
 * @param shards Consecutive parts of the set, u8 `[images, height, width, 1]` each.
 * @param indices Indices of the batch's images in the set: u32 `[batch]`.
 * @param key Random key, u32 `[2]`; without one, maps are read as they are.
 * @param rows The images of the batch to read, from one to before another; default all.
 * @returns i32 `[batch, height, width]`.
 */
export function readMaps(
  shards: readonly Shard[],
  indices: Tensor,
  key?: Tensor,
  augmentation: Augmentation = MIRRORED,
  rows?: { readonly from: number; readonly to: number },
): Tensor {
  expectKind("readMaps: the shards", shards, "array");
  for (const shard of shards) expectKind("readMaps: a shard", shard, "object");
  const [first] = shards;
  if (first === undefined) throw new LocalgradError("readMaps: needs at least one shard");
  expectTensor("readMaps", ...shards.map(({ bytes }) => bytes), indices);
  const [, height = 0, width = 0, channels] = first.bytes.shape;
  if (channels !== 1) {
    throw new LocalgradError("readMaps: a shard of label maps is u8[images,height,width,1]");
  }
  const batch = at(indices.shape, 0);
  const { from, to } = rows ?? { from: 0, to: batch };
  const positions = key === undefined
    ? iota([1, height * width], 1).reshape(1, height, width)
    : cropPositions(key, batch, height, width, augmentation).slice([from, 0, 0], [to, height, width]);
  const labels = gatherPixels(shards, indices.slice([from], [to]).cast("i32"), positions)
    .reshape(to - from, height, width).cast("i32");
  return key === undefined ? labels : where(positions.ge(0), labels, IGNORED);
}

/** The fault of label maps of `size` pixels with so many classes; undefined if there is none. */
export function mapsFault(
  maps: Uint8Array | undefined,
  count: number,
  size: number,
  classes: number,
): string | undefined {
  if (maps === undefined) return "has images and no label maps (`maps`, a Uint8Array [images,height,width])";
  if (!(maps instanceof Uint8Array)) {
    return `has label maps as ${shown(maps)}; they are a Uint8Array [images,height,width]`;
  }
  if (maps.length !== count * size) {
    return `has ${maps.length} labels; ${count} images of ${size} pixels have ${count * size}`;
  }
  const wrong = maps.findIndex((label) => label >= classes && label !== IGNORED);
  if (wrong < 0) return undefined;
  return `is mislabelled: image ${Math.floor(wrong / size)} has a pixel of class ${
    maps[wrong]
  }; ${classes} classes ` +
    `are 0 to ${classes - 1}, and ${IGNORED} is none`;
}

/** Refuses an augmentation that label maps cannot follow. `what` begins the message. */
export function checkMapAugmentation(what: string, augmentation: Augmentation): void {
  expectKind(what, augmentation, "object");
  const foreign = ["randAugment", "erase", "mix"].find((name) =>
    Reflect.get(augmentation, name) !== undefined
  );
  if (foreign === undefined) return;
  throw new LocalgradError(
    `${what}: label maps do not follow ${foreign}; crops, mirroring and colourJitter suit them`,
  );
}
