import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole, type Kinds, shown } from "../../base/expect.ts";
import { MOST_PIXELS } from "./colour.ts";
import { checkErasing, type Erasing, LONGEST_BOXED } from "./erase.ts";
import { checkColourJitter, type ColourJitter } from "./jitter.ts";
import { checkMixing, type Mixing } from "./mix.ts";
import { checkRandAugment, LONGEST_MOVED, type RandAugment } from "./rand_augment.ts";

/**
 * Augmentation of training images, in this order: crop and mirror, RandAugment, colour jitter, erasing, mixing. All but
 * the first are left out by default. Random numbers come from the key of the step; every backend gives the same pixels.
 */
export interface Augmentation {
  /** Pixels of padding on each side, before a random crop of the original size; 0 for no crop. */
  readonly border: number;
  /** Content of the padding: the image reflected without repeating its edge, or black. */
  readonly fill: "reflect" | "zero";
  /** Mirror half of the images? */
  readonly flip: boolean;
  /** RandAugment: `{}` for two changes of magnitude 9. Only for images in bytes, of one channel or three. */
  readonly randAugment?: RandAugment;
  /** Changes of brightness, contrast, saturation and hue. Only for images in bytes, of one channel or three. */
  readonly colourJitter?: ColourJitter;
  /** Boxes painted over with the mean colour, so that they are 0 once normalised: `{}` for half of the images. */
  readonly erase?: Erasing;
  /**
   * Mixup and CutMix with the image before it in the batch. The loss is that of both labels, weighted by their shares;
   * training accuracy is that of an image's own label, and losses that compare labels (`contrastive`, `predsim`) take the
   * own label too.
   */
  readonly mix?: Mixing;
}

const KINDS = {
  border: "number",
  fill: "string",
  flip: "boolean",
  randAugment: "object?",
  colourJitter: "object?",
  erase: "object?",
  mix: "object?",
} as const satisfies Kinds<Augmentation>;

/** Images that are to be augmented. */
export interface Augmented {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Are the pixels bytes, rather than f32 of any range? */
  readonly bytes: boolean;
}

/** Refuses an augmentation that images cannot have. `what`, such as `fit: the augmentation`, begins the message. */
export function checkAugmentation(what: string, augmentation: Augmentation, images: Augmented): void {
  expectOptions(what, augmentation, KINDS);
  const { border, fill, randAugment, colourJitter, erase, mix } = augmentation;
  const { height, width } = images;
  expectWhole(`${what}: border`, border, 0);
  if (fill !== "reflect" && fill !== "zero") {
    throw new LocalgradError(`${what}: fill must be "reflect" or "zero", not ${shown(fill)}`);
  }
  if (border > 0 && fill === "reflect" && border >= Math.min(height, width)) {
    throw new LocalgradError(
      `${what}: images of ${height}×${width} have no ${border} pixels to reflect beside an edge; choose a smaller border, ` +
        'or fill: "zero"',
    );
  }
  if (randAugment !== undefined) {
    checkRandAugment(`${what}: randAugment`, randAugment);
    checkColours(`${what}: randAugment`, images);
    checkSides(`${what}: randAugment`, images, LONGEST_MOVED);
  }
  if (colourJitter !== undefined) {
    checkColourJitter(`${what}: colourJitter`, colourJitter);
    checkColours(`${what}: colourJitter`, images);
  }
  if (erase !== undefined) {
    checkSides(`${what}: erase`, images, LONGEST_BOXED);
    checkErasing(`${what}: erase`, erase, images);
  }
  if (mix !== undefined) {
    checkMixing(`${what}: mix`, mix);
    if (mix.cutmix !== undefined) checkSides(`${what}: mix`, images, LONGEST_BOXED);
  }
}

/** Refuses images with a longer side, whose places would not fit into 32 bits. */
function checkSides(what: string, { height, width }: Augmented, longest: number): void {
  if (Math.max(height, width) <= longest) return;
  throw new LocalgradError(
    `${what}: images of ${height}×${width} have a side of more than ${longest} pixels; resize them, or leave it out`,
  );
}

/** Refuses images whose colours cannot be changed. */
function checkColours(what: string, { height, width, channels, bytes }: Augmented): void {
  if (!bytes) throw new LocalgradError(`${what} needs images in bytes; these are f32 of any range`);
  if (channels !== 1 && channels !== 3) {
    throw new LocalgradError(`${what} needs images of one channel or three, not ${channels}`);
  }
  if (height * width <= MOST_PIXELS) return;
  throw new LocalgradError(`${what}: images of ${height}×${width} have more than ${MOST_PIXELS} pixels`);
}
