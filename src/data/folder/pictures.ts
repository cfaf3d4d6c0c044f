/**
 * Decoding of pictures, to predict them. A separate sub-path, because it needs a package, the WebAssembly build of
 * ImageMagick.
 *
 * @module
 */

import { expectOptions, expectWhole } from "../../base/expect.ts";
import type { PictureDecoder, WholePicture } from "../decoder.ts";
import type { Signature } from "../signature.ts";
import { Decoders } from "./decoders.ts";
import { listPictures } from "./listing.ts";

export type { PictureDecoder, WholePicture } from "../decoder.ts";
export type { Preprocessing, Signature } from "../signature.ts";

/** Options of {@link pictures}. */
export interface PicturesOptions {
  /** Number of decoding threads, which start with the first picture; default the number of cores. */
  readonly threads?: number;
}

/**
 * Makes a decoder for `predict.load`: it reads JPEG, PNG, WebP, BMP and TIFF files of every kind, within the limits of
 * `imageFolder`, and resizes and crops them as the images that the network was tested on.
 *
 * @example
 * ```ts ignore
 * import { pictures } from "@localgrad/localgrad/pictures";
 * await using predictor = await predict.load("runs/flowers", { device, decoder: pictures() });
 * const { best } = await predictor.predict("rose.jpg");
 * console.log(best.name, best.probability);
 * ```
 */
export function pictures(options: PicturesOptions = {}): PictureDecoder {
  expectOptions("pictures", options, { threads: "number?" });
  const { threads = navigator.hardwareConcurrency } = options;
  expectWhole("pictures: threads", threads);
  return new Pictures(threads);
}

class Pictures implements PictureDecoder {
  readonly #threads: number;
  #decoders: Decoders | undefined;

  constructor(threads: number) {
    this.#threads = threads;
  }

  async decode(
    picture: string | Blob,
    { height, width, crop = 1 }: Parameters<PictureDecoder["decode"]>[1],
  ): Promise<Uint8Array> {
    const source = await sourceOf(picture);
    return await this.#started.decode({ ...source, size: [height, width], crop });
  }

  async whole(
    picture: string | Blob,
    { height, width, mean }: Pick<Signature, "height" | "width" | "mean">,
  ): Promise<WholePicture> {
    const source = await sourceOf(picture);
    const fill = [0, 1, 2].map((channel) => Math.round(255 * (mean[channel] ?? mean[0] ?? 0)));
    return await this.#started.whole({ ...source, size: [height, width], fill });
  }

  list(folder: string): Promise<string[]> {
    return listPictures(folder);
  }

  get #started(): Decoders {
    return this.#decoders ??= new Decoders(this.#threads);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const decoders = this.#decoders;
    this.#decoders = undefined;
    await decoders?.[Symbol.asyncDispose]();
  }
}

/** The file of a picture, or its content with its name in messages. */
async function sourceOf(picture: string | Blob): Promise<{ path: string; bytes?: Uint8Array }> {
  if (typeof picture === "string") return { path: picture };
  return { path: picture instanceof File ? picture.name : "the picture", bytes: await picture.bytes() };
}
