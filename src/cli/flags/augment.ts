import { LocalgradError } from "../../base/errors.ts";
import { boolean, type Decoder, number, object, optional, whole } from "../../base/decode.ts";
import { nearest } from "../../base/option_names.ts";
import type { Augmentation } from "../../data.ts";
import { CIFAR_AUGMENTATION } from "../../data/augment.ts";
import { checkColourJitter } from "../../data/augmentation/jitter.ts";
import { checkMixing } from "../../data/augmentation/mix.ts";
import { checkRandAugment } from "../../data/augmentation/rand_augment.ts";
import { MIRRORED } from "../../data/label_maps.ts";
import type { AnySet } from "../datasets.ts";
import { type Flags, type Given, givenAs } from "./flags.ts";

/** The flag for augmentation. */
export const augmentFlags = {
  augment: {
    value: "NAME=N,…",
    help:
      "change training images: crop=PIXELS and flip=yes|no, by default the data set's; randaugment[=OPS:MAGNITUDE], " +
      "brightness=, contrast=, saturation=, hue=, erase[=SHARE]; mixup=ALPHA, cutmix=ALPHA",
  },
} as const satisfies Flags;

/** Numbers by name: the parts of an augmentation, in the order in which a flag names them. */
const NUMBERS = [
  "crop",
  "brightness",
  "contrast",
  "saturation",
  "hue",
  "erase",
  "mixup",
  "cutmix",
] as const;

const NAMES = [...NUMBERS, "flip", "randaugment"] as const;

type NumberName = typeof NUMBERS[number];

/** What the flag says about augmentation: JSON, in the settings of a run. */
export type AugmentSettings =
  & { readonly [name in NumberName]?: number }
  & {
    /** Mirror half of the images? */
    readonly flip?: boolean;
    /** RandAugment's changes of each image, and their magnitude. */
    readonly randaugment?: { readonly ops: number; readonly magnitude: number };
  };

/** Decodes the settings of augmentation in a checkpoint. */
export const augmentDecoder: Decoder<AugmentSettings> = object<AugmentSettings>({
  crop: optional(whole()),
  flip: optional(boolean),
  randaugment: optional(object({ ops: whole(), magnitude: whole() })),
  brightness: optional(number),
  contrast: optional(number),
  saturation: optional(number),
  hue: optional(number),
  erase: optional(number),
  mixup: optional(number),
  cutmix: optional(number),
});

/** Reads the settings of augmentation from its flag. */
export function augmentFrom(text: string): AugmentSettings {
  const settings: { [name: string]: unknown } = {};
  for (const part of text.split(",")) {
    const [name = "", value] = part.trim().split(/=(.*)/s);
    const known = NAMES.find((each) => each === name);
    if (known === undefined) throw unknown(name);
    if (known in settings) throw new LocalgradError(`--augment names ${known} twice; name it once`);
    settings[known] = valueOf(known, value);
  }
  checked(settings);
  return settings;
}

function valueOf(name: typeof NAMES[number], text: string | undefined): AugmentSettings[typeof name] {
  switch (name) {
    case "flip":
      if (text === "yes" || text === "no") return text === "yes";
      throw needs("flip=yes or flip=no", name, text);
    case "randaugment": {
      const [ops, magnitude, ...more] = text === undefined ? [2, 9] : text.split(":").map(numberOf);
      if (ops !== undefined && magnitude !== undefined && more.length === 0) return { ops, magnitude };
      throw needs("randaugment, or changes and magnitude, such as randaugment=2:9", name, text);
    }
    case "erase":
      if (text === undefined) return 0.5;
  }
  const value = numberOf(text ?? "");
  if (Number.isFinite(value) && (name !== "crop" || Number.isInteger(value))) return value;
  throw needs(`a number, such as ${name}=${name === "crop" ? 4 : 0.2}`, name, text);
}

function numberOf(text: string): number {
  return text.trim() === "" ? NaN : Number(text);
}

function needs(what: string, name: string, text: string | undefined): LocalgradError {
  const given = text === undefined ? name : `${name}=${text}`;
  return new LocalgradError(`--augment needs ${what}, not "${given}"`);
}

function unknown(name: string): LocalgradError {
  const like = nearest(name, NAMES);
  const meant = like === undefined ? "" : `did you mean ${like}? `;
  return new LocalgradError(`--augment has no "${name}"; ${meant}its names: ${NAMES.join(", ")}`);
}

/** Refuses values out of range, before any image is read. */
function checked(settings: AugmentSettings): void {
  const { randAugment, colourJitter, mix } = changesOf(settings);
  const { crop = 0, erase = 0 } = settings;
  if (crop < 0) throw needs("crop of at least 0 pixels", "crop", String(crop));
  if (erase < 0 || erase > 1) throw needs("a share of images from 0 to 1", "erase", String(erase));
  if (randAugment !== undefined) checkRandAugment("--augment randaugment", randAugment);
  if (colourJitter !== undefined) checkColourJitter("--augment", colourJitter);
  if (mix !== undefined) checkMixing("--augment", mix);
}

/** The flag that says what the settings say: the inverse of {@link augmentFrom}. */
export function augmentGiven(settings: AugmentSettings = {}): Given<typeof augmentFlags> {
  const { flip, randaugment } = settings;
  const parts = [
    ...(flip === undefined ? [] : [`flip=${flip ? "yes" : "no"}`]),
    ...(randaugment === undefined ? [] : [`randaugment=${randaugment.ops}:${randaugment.magnitude}`]),
    ...NUMBERS.flatMap((name) => settings[name] === undefined ? [] : [`${name}=${settings[name]}`]),
  ];
  return givenAs<typeof augmentFlags>({ augment: parts.length === 0 ? undefined : parts.join() });
}

/** What the settings add to the crops and flips of a data set. */
function changesOf(settings: AugmentSettings): Omit<Augmentation, "border" | "fill" | "flip"> {
  const { randaugment, erase } = settings;
  const colourJitter = present(settings, ["brightness", "contrast", "saturation", "hue"]);
  const mix = present(settings, ["mixup", "cutmix"]);
  return {
    ...(randaugment === undefined ? {} : { randAugment: randaugment }),
    ...(colourJitter === undefined ? {} : { colourJitter }),
    ...(erase === undefined ? {} : { erase: { probability: erase } }),
    ...(mix === undefined ? {} : { mix }),
  };
}

/** The settings of these names; undefined if there are none. */
function present<N extends NumberName>(
  settings: AugmentSettings,
  names: readonly N[],
): { readonly [name in N]?: number } | undefined {
  const given = names.filter((name) => settings[name] !== undefined);
  if (given.length === 0) return undefined;
  return Object.fromEntries(given.map((name) => [name, settings[name]])) as { [name in N]?: number };
}

/**
 * The data set with the augmentation of the settings: its own crops and flips where they say nothing else.
 *
 * @throws {LocalgradError} if crops or flips are given for images that their reader crops and mirrors.
 */
export function withAugmentation(
  images: AnySet,
  settings: AugmentSettings | undefined,
): AnySet {
  if (settings === undefined) return images;
  const { crop, flip } = settings;
  const resident = "images" in images.train;
  const given = crop === undefined ? flip === undefined ? undefined : "flip" : "crop";
  if (!resident && given !== undefined) {
    throw new LocalgradError(
      `--augment: images of ${images.name} are cropped and mirrored while they are decoded; leave ${given} out`,
    );
  }
  const usual = "task" in images ? MIRRORED : CIFAR_AUGMENTATION;
  const own = resident ? images.augmentation ?? usual : NOTHING;
  return {
    ...images,
    augmentation: {
      ...own,
      ...(crop === undefined ? {} : { border: crop }),
      ...(flip === undefined ? {} : { flip }),
      ...changesOf(settings),
    },
  };
}

/** No crop and no flip. */
const NOTHING: Augmentation = { border: 0, fill: "zero", flip: false };
