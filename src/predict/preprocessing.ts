import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";
import type { PictureDecoder, WholePicture } from "../data/decoder.ts";
import type { Signature } from "../data/signature.ts";
import { imageInput, type Model } from "../models/model.ts";
import type { Pixels } from "./batches.ts";
import { expectInput, inChannels, type Picture } from "./inputs.ts";

/** Makes pixels of images as a network takes them. Errors begin with `caller`. */
export class Preprocessing {
  readonly #model: Model;
  readonly #signature: Signature | undefined;
  readonly #decoder: PictureDecoder | undefined;

  /** For a network, with what is known of the images that it was trained on, and a decoder of pictures. */
  constructor(model: Model, signature: Signature | undefined, decoder: PictureDecoder | undefined) {
    this.#model = model;
    this.#signature = signature;
    this.#decoder = decoder;
  }

  /** The pixels of an image; those of a picture are resized and cropped as in evaluation. */
  async pixelsOf(caller: string, image: Picture): Promise<Pixels> {
    const isBytes = image instanceof Uint8Array;
    if (isBytes || image instanceof Float32Array) expectInput(caller, this.#model, image);
    if (image instanceof Float32Array) return image;
    const signature = this.signatureFor(caller);
    if (isBytes) return image;
    if (typeof image !== "string" && !(image instanceof Blob)) {
      throw new LocalgradError(
        `${caller}: an image is bytes, normalised f32, a path or a Blob, not ${shown(image)}`,
      );
    }
    const what = nameOf(image);
    const { channels } = imageInput(`${caller}: ${what} is a picture`, this.#model);
    const pixels = await this.decoderFor(caller, what).decode(image, signature);
    return inChannels(caller, pixels, channels, this.#model.name);
  }

  /** A whole picture, as large as fits, in the channels of the network. */
  async wholeOf(caller: string, image: string | Blob): Promise<WholePicture> {
    const what = nameOf(image);
    const { channels } = imageInput(`${caller}: ${what} is a picture`, this.#model);
    const decoder = this.decoderFor(caller, what);
    const whole = await decoder.whole?.(image, this.signatureFor(caller));
    if (whole === undefined) {
      throw new LocalgradError(
        `${caller}: the decoder cannot show ${what} whole; give it a method whole(), or use pictures()`,
      );
    }
    const { pixels, of, to } = whole;
    return { pixels: inChannels(caller, pixels, channels, this.#model.name), of, to };
  }

  /** The signature; refuses to guess one. */
  signatureFor(caller: string): Signature {
    if (this.#signature !== undefined) return this.#signature;
    throw new LocalgradError(
      `${caller}: the mean and standard deviation that ${this.#model.name} was trained with are not known, so bytes and ` +
        `pictures cannot be normalised; pass the signature, such as that of a data set, or normalised f32 images`,
    );
  }

  /** The decoder for something; refuses if there is none. */
  decoderFor(caller: string, what: string): PictureDecoder {
    if (this.#decoder !== undefined) return this.#decoder;
    throw new LocalgradError(
      `${caller}: ${what} has to be decoded; pass { decoder: pictures() } of "@localgrad/localgrad/pictures"`,
    );
  }
}

/** A picture in messages. */
function nameOf(picture: string | Blob): string {
  return typeof picture === "string" ? picture : "a Blob";
}
