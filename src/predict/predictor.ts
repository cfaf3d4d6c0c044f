import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions, expectWhole, shown } from "../base/expect.ts";
import { isAsyncIterable, isIterable, iterableRemedy } from "../base/iterators.ts";
import type { Precision } from "../compile/plan.ts";
import type { PictureDecoder } from "../data/decoder.ts";
import type { Signature } from "../data/signature.ts";
import { categorize } from "../local/memory.ts";
import { activationsIn, productsIn } from "../local/precision.ts";
import {
  classifiesTokens,
  inputShape,
  type Model,
  network,
  outputShape,
  regresses,
  segments,
} from "../models/model.ts";
import type { Named } from "../nn/named.ts";
import type { Device, DeviceArray } from "../runtime/arrays.ts";
import { jit, type Jitted } from "../runtime/jit.ts";
import { sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { Batches, type Pixels } from "./batches.ts";
import { type LabelMap, labelMap, ofPicture } from "./label_map.ts";
import type { Prediction } from "./prediction.ts";
import { eachOf, isPicture, normalised, type Picture, type Pictures } from "./inputs.ts";
import { Preprocessing } from "./preprocessing.ts";
import { ranked } from "./ranked.ts";
import { inOrder } from "./in_order.ts";

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
  /** Class names of a network without a signature; default their numbers. */
  readonly classNames?: readonly string[] | undefined;
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
  /** Class names of a network without a signature. */
  readonly classNames: readonly string[] | undefined;
  readonly #parts: PredictorParts;
  readonly #preprocessing: Preprocessing;
  readonly #compiled: Compiled;
  readonly #batches: Batches;

  /** See `predict.load`. */
  constructor(parts: PredictorParts) {
    expectKind("Predictor: the parts", parts, "object");
    const { model, signature, batch, precision, device } = parts;
    expectWhole("predict: batch", batch);
    this.model = model;
    this.signature = signature;
    this.classNames = parts.classNames;
    this.#parts = parts;
    this.#preprocessing = new Preprocessing(model, signature, parts.decoder);
    const net = network(model);
    this.#compiled = jit(({ params, state }: NetworkVariables<Tensor>, images: Tensor) => {
      const x = images.dtype === "u8"
        ? normalised(images, this.#preprocessing.signatureFor("predict"))
        : images;
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
      : Array.fromAsync(this.#all(eachOf("predict", this.model, images, this.#parts.batch), count));
  }

  /**
   * The outputs of the network for inputs, in order, `[inputs, outputs]`: the values of a regression, or logits; those of
   * pixels `[inputs, height, width, classes]`, of tokens `[inputs, length, classes]`.
   *
   * @throws {LocalgradError} if an input does not suit the network, or cannot be decoded.
   */
  async outputs(inputs: Pictures): Promise<HostArray<"f32">> {
    const { batch } = this.#parts;
    const rows = await Array.fromAsync(
      inOrder(
        eachOf("outputs", this.model, inputs, batch),
        (input) => this.#outputOf("outputs", input),
        2 * batch,
      ),
    );
    const shape = outputShape(this.model);
    const size = sizeOf(shape);
    const data = new Float32Array(rows.length * size);
    rows.forEach((row, i) => data.set(row, i * size));
    return new HostArray(data, [rows.length, ...shape]);
  }

  /**
   * The class of each pixel of images, in order. A file, or a `Blob`, is shown whole, as large as fits, as pictures are in
   * tests; its map has its own size, in which a pixel has the nearest label. Other maps have the size of the network.
   *
   * @throws {LocalgradError} if the network gives one class for each image, an image does not suit it, or cannot be decoded.
   */
  segment(images: Pictures): Promise<LabelMap[]> {
    const { model } = this;
    if (classifiesTokens(model)) {
      throw new LocalgradError(`segment: ${model.name} classifies tokens; outputs() gives their logits`);
    }
    if (!segments(model)) {
      throw new LocalgradError(`segment: ${model.name} gives one class for each image; predict() names it`);
    }
    const { batch } = this.#parts;
    return Array.fromAsync(inOrder(
      eachOf("segment", model, images, batch),
      (image) => this.#mapOf(image),
      2 * batch,
    ));
  }

  /**
   * Predicts images as they come, in order: of a list, a generator or a `ReadableStream`. It reads a few images ahead,
   * and yields a prediction as soon as it is there.
   */
  stream(
    images: Iterable<Picture> | AsyncIterable<Picture>,
    options: PredictOptions = {},
  ): AsyncGenerator<Prediction, void, void> {
    if (!isAsyncIterable(images) && !isIterable(images)) {
      throw new LocalgradError(
        `predict: stream takes a list, a generator or a ReadableStream of images, not ${shown(images)}${
          iterableRemedy(images)
        }`,
      );
    }
    return this.#all(images, this.#topOf(options));
  }

  /** Predicts the pictures of a folder and of the folders in it, by name. Needs a decoder. */
  async *folder(path: string, options: PredictOptions = {}): AsyncGenerator<FilePrediction, void, void> {
    const count = this.#topOf(options);
    const files = await this.#preprocessing.decoderFor("predict", `the folder ${path}`).list(path);
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
    return ranked(
      await this.#outputOf("predict", image),
      this.signature?.classes ?? this.classNames ?? [],
      top,
    );
  }

  async #mapOf(image: Picture): Promise<LabelMap> {
    const shape = outputShape(this.model);
    if (typeof image !== "string" && !(image instanceof Blob)) {
      return labelMap(await this.#outputOf("segment", image), shape);
    }
    const whole = await this.#preprocessing.wholeOf("segment", image);
    return ofPicture(labelMap(await this.#batches.add(whole.pixels), shape), whole);
  }

  async #outputOf(caller: string, image: Picture): Promise<Float32Array> {
    return await this.#batches.add(await this.#preprocessing.pixelsOf(caller, image));
  }

  async #run(images: readonly Pixels[], size: number): Promise<Float32Array> {
    const shape = [size, ...inputShape(this.model)];
    const each = sizeOf(shape) / size;
    const data = images[0] instanceof Uint8Array
      ? new Uint8Array(size * each)
      : new Float32Array(size * each);
    images.forEach((image, i) => data.set(image, i * each));
    using logits = this.#compiled(this.#parts.variables(), new HostArray(data, shape));
    return await logits.read("f32");
  }

  #topOf(options: PredictOptions): number {
    expectOptions("predict", options, { top: "number?" });
    if (regresses(this.model)) {
      throw new LocalgradError(
        `predict: ${this.model.name} is a regression, which has no classes to rank; outputs() gives its values`,
      );
    }
    if (classifiesTokens(this.model)) {
      throw new LocalgradError(
        `predict: ${this.model.name} classifies tokens, and an input has no class of its own; outputs() gives the logits`,
      );
    }
    if (segments(this.model)) {
      throw new LocalgradError(
        `predict: ${this.model.name} labels pixels; segment() gives the class of each, and outputs() their logits`,
      );
    }
    const { top = 5 } = options;
    expectWhole("predict: top", top);
    return Math.min(top, this.model.classes);
  }
}
