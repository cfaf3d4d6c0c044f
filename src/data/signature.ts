import { list, number, object, optional, text, whole } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject, type Kinds } from "../base/expect.ts";
import { imageInput, type Model } from "../models/model.ts";

/** The way from a picture to an image that a network takes, apart from its size. */
export interface Preprocessing {
  /** Mean of each channel, on a scale where byte 255 is 1. */
  readonly mean: readonly number[];
  /** Standard deviation of each channel, on the same scale. */
  readonly std: readonly number[];
  /**
   * The share of a picture that an image shows, along the side that limits it: a picture is resized until
   * `height / crop` × `width / crop` pixels just fit into it, and cropped to `height` × `width` at the centre. Default
   * 1; 224 / 256 in folders of images.
   */
  readonly crop?: number;
}

/**
 * The inputs and outputs of a network for people: how a picture becomes an image that it takes, and the names of its
 * classes. A data set has one; it is kept with the network, in checkpoints and exported files.
 */
export interface Signature extends Preprocessing {
  /** The name of each class; its length is the number of classes. */
  readonly classes: readonly string[];
  /** Rows of an image. */
  readonly height: number;
  /** Columns of an image. */
  readonly width: number;
  /** Values per pixel. */
  readonly channels: number;
}

/** The properties of a signature, to check one from a user. */
export const SIGNATURE_KINDS = {
  classes: "array",
  height: "number",
  width: "number",
  channels: "number",
  mean: "array",
  std: "array",
  crop: "number?",
} as const satisfies Kinds<Signature>;

/** Decodes a signature in a file. */
export const signatureFields = object<Signature>({
  classes: list(text),
  height: whole(1),
  width: whole(1),
  channels: whole(1),
  mean: list(number),
  std: list(number),
  crop: optional(number),
});

/** The signature of a data set, without anything else. */
export function signatureOf({ classes, height, width, channels, mean, std, crop }: Signature): Signature {
  const of = { classes: [...classes], height, width, channels, mean: [...mean], std: [...std] };
  return crop === undefined ? of : { ...of, crop };
}

/**
 * Refuses a signature that a network does not fit: images of another size, more classes than it has, or impossible
 * statistics. `who` begins the message; `name` is that of the data set.
 */
export function checkSignature(who: string, name: string, signature: Signature, model: Model): void {
  expectObject(`${who}: ${name}`, signature, SIGNATURE_KINDS);
  const { classes, crop = 1 } = signature;
  const { height, width, channels } = imageInput(`${who}: ${name} has images`, model);
  if (signature.height !== height || signature.width !== width || signature.channels !== channels) {
    throw new LocalgradError(
      `${who}: ${model.name} takes images of ${height}×${width}×${channels}, but those of ${name} are ` +
        `${signature.height}×${signature.width}×${signature.channels}`,
    );
  }
  if (classes.length > model.classes) {
    throw new LocalgradError(
      `${who}: ${name} has ${classes.length} classes, ${model.name} was made for ${model.classes}; ` +
        `make it with { classes: ${classes.length} }`,
    );
  }
  checkStatistics(who, name, signature, channels);
  if (crop > 0 && crop <= 1) return;
  throw new LocalgradError(`${who}: ${name} has the crop ${crop}; it must be above 0 and at most 1`);
}

/** Refuses a mean or standard deviation that cannot normalise images of so many channels; see {@link checkSignature}. */
export function checkStatistics(
  who: string,
  name: string,
  statistics: Pick<Preprocessing, "mean" | "std">,
  channels: number,
): void {
  for (const statistic of ["mean", "std"] as const) {
    const { [statistic]: values } = statistics;
    if (values.length !== channels) {
      throw new LocalgradError(
        `${who}: ${name} has ${statistic} of ${values.length} channels, its images ${channels}`,
      );
    }
    const wrong = values.find((value) => !Number.isFinite(value) || (statistic === "std" && value <= 0));
    if (wrong === undefined) continue;
    throw new LocalgradError(
      `${who}: ${name} has ${wrong} in its ${statistic}, which cannot normalise images`,
    );
  }
}
