import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions, expectWhole, shown } from "../base/expect.ts";
import type { Precision } from "../compile/plan.ts";
import { readImages } from "../data/augment.ts";
import type { PictureDecoder } from "../data/decoder.ts";
import type { ImagePart } from "../data/images.ts";
import type { Signature } from "../data/signature.ts";
import { categorize } from "../local/memory.ts";
import { activationsIn, productsIn } from "../local/precision.ts";
import { type Model, network } from "../models/model.ts";
import type { Named } from "../nn/named.ts";
import type { Device, DeviceArray } from "../runtime/arrays.ts";
import { jit, type Jitted } from "../runtime/jit.ts";
import { iota } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { Batches, type Pixels } from "./batches.ts";
import type { Prediction } from "./prediction.ts";
import { ranked } from "./ranked.ts";
import { inOrder } from "./in_order.ts";

/**
 * An image to predict: its pixels `[height, width, channels]` as bytes, or as f32 if they are normalised already; or, with
 * a decoder, the path of a picture's file or its content as a `Blob`, such as a request's or a `File`.
 */
export type Picture = Uint8Array | Float32Array | string | Blob;

/**
 * Images to predict at once: a list of them; `[images, height, width, channels]` as u8, or as f32 if they are normalised
 * already; or a part of a data set, such as `images.test`.
 */
export type Pictures = readonly Picture[] | HostArray | ImagePart;

/** Options of a prediction. */
export interface PredictOptions {
  /** Number of classes in `top`; default 5, or all if there are fewer. */
  top?: number;
}

/** Prediction of a file. */
export interface FilePrediction extends Prediction {
  /** The path of the file. */
  readonly file: string;
}

/** A network's parameters and statistics on a device. */
export interface NetworkVariables<T> {
  /** Parameters, by PyTorch's names. */
  readonly params: Named<T>;
  /** Running statistics. */
  readonly state: Named<T>;
}

/** The parts of a {@link Predictor}. */
export interface PredictorParts {
  /** The device it predicts on. */
  readonly device: Device;
  /** The network. */
  readonly model: Model;
  /** Precision of the arithmetic. */
  readonly precision: Precision;
  /** The current values of the network. */
  readonly variables: () => NetworkVariables<DeviceArray>;
  /** Class names and preprocessing, if known. */
  readonly signature: Signature | undefined;
  /** Most images of a batch. */
  readonly batch: number;
  /** Decodes pictures; the predictor disposes of it. */
  readonly decoder?: PictureDecoder | undefined;
  /** Frees what belongs to it. */
  readonly free?: () => void;
}

/** A batch of a predictor: `u8` bytes or `f32` normalised images. */
type Compiled = Jitted<[variables: NetworkVariables<Tensor>, images: Tensor], Tensor>;

/**
 * A network that predicts. Any number of calls may run at once: their images share batches. A network is compiled for
 * batches of 1, 2, 4 … images, up to the largest, when they first occur; other numbers are padded to the next of those,
 * and more are split.
 *
 * `predict.load` makes one of a run or a file; `Trainer.predict` predicts with the network in training.
 */
export class Predictor implements AsyncDisposable {
  /** The network. */
  readonly model: Model;
  /** Class names and preprocessing; undefined if they are not known. */
  readonly signature: Signature | undefined;
  readonly #parts: PredictorParts;
  readonly #compiled: Compiled;
  readonly #batches: Batches;

  /** See `predict.load`. */
  constructor(parts: PredictorParts) {
    expectKind("Predictor: the parts", parts, "object");
    const { model, signature, batch, precision, device } = parts;
    expectWhole("predict: batch", batch);
    this.model = model;
    this.signature = signature;
    this.#parts = parts;
    const net = network(model);
    this.#compiled = jit(({ params, state }: NetworkVariables<Tensor>, images: Tensor) => {
      const x = images.dtype === "u8" ? normalised(images, this.#known()) : images;
      return net.apply(params, state, x.cast(activationsIn(precision)), "evaluate").y.cast("f32");
    }, { device, name: `${model.name} prediction`, categorize, ...productsIn(precision) });
    this.#batches = new Batches((images, size) => this.#run(images, size), batch);
  }

  /** Predicts an image, whatever else is predicted at the same time. */
  predict(image: Picture, options?: PredictOptions): Promise<Prediction>;
  /**
   * Predicts images, in order. All results are kept; {@link stream} keeps none.
   *
   * @throws {LocalgradError} if an image does not suit the network, or cannot be decoded.
   */
  predict(images: Pictures, options?: PredictOptions): Promise<Prediction[]>;
  /** Predicts an image or images. */
  predict(images: Picture | Pictures, options?: PredictOptions): Promise<Prediction | Prediction[]>;
  predict(images: Picture | Pictures, options: PredictOptions = {}): Promise<Prediction | Prediction[]> {
    const count = this.#topOf(options);
    return isPicture(images)
      ? this.#one(images, count)
      : Array.fromAsync(this.#all(this.#each(images), count));
  }

  /**
   * Predicts images as they come, in order: of a list, a generator or a `ReadableStream`. It reads a few images ahead,
   * and yields a prediction as soon as it is there.
   */
  stream(
    images: Iterable<Picture> | AsyncIterable<Picture>,
    options: PredictOptions = {},
  ): AsyncGenerator<Prediction, void, void> {
    return this.#all(images, this.#topOf(options));
  }

  /** Predicts the pictures of a folder and of the folders in it, by name. Needs a decoder. */
  async *folder(path: string, options: PredictOptions = {}): AsyncGenerator<FilePrediction, void, void> {
    const count = this.#topOf(options);
    const files = await this.#decoder(`the folder ${path}`).list(path);
    let next = 0;
    for await (const prediction of this.#all(files, count)) {
      yield { file: files[next++] ?? "", ...prediction };
    }
  }

  /** Frees its arrays and programs, and ends the threads of its decoder. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#compiled.dispose();
    this.#parts.free?.();
    await this.#parts.decoder?.[Symbol.asyncDispose]();
  }

  #all(images: Iterable<Picture> | AsyncIterable<Picture>, top: number) {
    return inOrder(images, (image) => this.#one(image, top), 2 * this.#parts.batch);
  }

  async #one(image: Picture, top: number): Promise<Prediction> {
    const pixels = await this.#pixelsOf(image);
    return ranked(await this.#batches.add(pixels), this.signature?.classes ?? [], top);
  }

  /** The images of a list, an array or a part of a data set, one by one. */
  async *#each(images: Pictures): AsyncGenerator<Picture> {
    if (images instanceof HostArray) yield* this.#rows(images);
    else if (isList(images)) yield* images;
    else if ("images" in images) {
      const { height, width, channels } = this.model.input;
      yield* this.#rows(new HostArray(images.images, [images.count, height, width, channels]));
    } else {
      await using reader = images.open();
      const { batch } = this.#parts;
      for (let first = 0; first < images.count; first += batch) {
        const indices = Uint32Array.from(
          { length: Math.min(batch, images.count - first) },
          (_, i) => first + i,
        );
        const pixels = await reader.read(indices);
        const size = pixels.length / indices.length;
        for (let at = 0; at < pixels.length; at += size) yield pixels.subarray(at, at + size);
      }
    }
  }

  /** The images of an array, which share its memory. */
  *#rows({ data, shape, dtype }: HostArray): Generator<Pixels> {
    const { height, width, channels } = this.model.input;
    const [count = 0, ...image] = shape;
    const pixels = data instanceof Uint8Array || data instanceof Float32Array ? data : undefined;
    if (image.join() !== `${height},${width},${channels}` || pixels === undefined) {
      throw new LocalgradError(
        `predict: ${this.model.name} takes [images,${height},${width},${channels}] of u8, or of f32 if normalised, ` +
          `not ${dtype}[${shape}]${
            image.join() === `${channels},${height},${width}`
              ? ", which is NCHW; put the channels last, such as by x.transpose(0, 2, 3, 1) in a traced function"
              : ""
          }`,
      );
    }
    const size = height * width * channels;
    for (let i = 0; i < count; i++) yield pixels.subarray(i * size, (i + 1) * size);
  }

  async #pixelsOf(image: Picture): Promise<Pixels> {
    const { height, width, channels } = this.model.input;
    const size = height * width * channels;
    const takes = `${this.model.name} takes ${height}×${width}×${channels}`;
    if (image instanceof Float32Array) {
      if (image.length === size) return image;
      throw new LocalgradError(
        `predict: an image has ${image.length} elements of f32; ${takes}; pass several images as a list, or as an array ` +
          `[images, height, width, channels]`,
      );
    }
    const signature = this.#known();
    if (image instanceof Uint8Array) {
      if (image.length === size) return image;
      throw new LocalgradError(
        `predict: an image has ${image.length} bytes; ${takes}; pass the content of a picture's file as a Blob, with a ` +
          `decoder`,
      );
    }
    if (typeof image !== "string" && !(image instanceof Blob)) {
      throw new LocalgradError(
        `predict: an image is bytes, normalised f32, a path or a Blob, not ${shown(image)}`,
      );
    }
    const what = typeof image === "string" ? image : "a Blob";
    return inChannels(await this.#decoder(what).decode(image, signature), channels, this.model.name);
  }

  async #run(images: readonly Pixels[], size: number): Promise<Float32Array> {
    const { height, width, channels } = this.model.input;
    const shape = [size, height, width, channels];
    const each = height * width * channels;
    const data = images[0] instanceof Uint8Array
      ? new Uint8Array(size * each)
      : new Float32Array(size * each);
    images.forEach((image, i) => data.set(image, i * each));
    using logits = this.#compiled(this.#parts.variables(), new HostArray(data, shape));
    return await logits.read("f32");
  }

  #topOf(options: PredictOptions): number {
    expectOptions("predict", options, { top: "number?" });
    const { top = 5 } = options;
    expectWhole("predict: top", top);
    return Math.min(top, this.model.classes);
  }

  /** The signature; refuses to guess one. */
  #known(): Signature {
    if (this.signature !== undefined) return this.signature;
    throw new LocalgradError(
      `predict: the mean and standard deviation that ${this.model.name} was trained with are not known, so bytes and ` +
        `pictures cannot be normalised; pass the signature, such as that of a data set, or normalised f32 images`,
    );
  }

  #decoder(what: string): PictureDecoder {
    const { decoder } = this.#parts;
    if (decoder !== undefined) return decoder;
    throw new LocalgradError(
      `predict: ${what} has to be decoded; pass { decoder: pictures() } of "@localgrad/localgrad/pictures"`,
    );
  }
}

/** Normalises bytes as in evaluation. */
function normalised(bytes: Tensor, signature: Signature): Tensor {
  const indices = iota(bytes.shape.slice(0, 1), 0, "u32");
  return readImages([{ first: 0, bytes }], indices, signature).x;
}

function isPicture(images: Picture | Pictures): images is Picture {
  return typeof images === "string" || images instanceof Blob || images instanceof Uint8Array ||
    images instanceof Float32Array;
}

function isList(images: readonly Picture[] | ImagePart): images is readonly Picture[] {
  return Array.isArray(images);
}

/** RGB pixels for a network of 3 channels, or their brightness for one of 1 (ITU-R 601-2, as Pillow's "L"). */
function inChannels(rgb: Uint8Array, channels: number, model: string): Uint8Array {
  if (channels === 3) return rgb;
  if (channels !== 1) {
    throw new LocalgradError(
      `predict: ${model} takes ${channels} channels, which pictures do not have; pass bytes`,
    );
  }
  const grey = new Uint8Array(rgb.length / 3);
  for (let i = 0; i < grey.length; i++) {
    const [red = 0, green = 0, blue = 0] = rgb.subarray(3 * i, 3 * i + 3);
    grey[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  return grey;
}
