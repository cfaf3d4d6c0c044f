import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectBetween, expectOptions, type Kinds, shown } from "../../base/expect.ts";
import { where } from "../../trace/functions.ts";
import { bits, integers, split } from "../../trace/random.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { brighten, contrast, factorOf, saturate, shiftHue, TURN } from "./colour.ts";
import { allRows, type Rows, take } from "./rows.ts";

/** How far colours change at random, as torchvision's `ColorJitter` takes it; each default 0, no change. */
export interface ColourJitter {
  /** Brightness is multiplied by a factor from max(0, 1 − this) to 1 + this; below 3. */
  readonly brightness?: number;
  /** Contrast: the distance from the mean brightness, likewise. */
  readonly contrast?: number;
  /** Saturation: the distance from the grey image, likewise. */
  readonly saturation?: number;
  /** The hue is turned by a part of the colour circle from minus this to this; at most 0.5. */
  readonly hue?: number;
}

const KINDS = {
  brightness: "number?",
  contrast: "number?",
  saturation: "number?",
  hue: "number?",
} as const satisfies Kinds<ColourJitter>;

/** Refuses a jitter that is not one. `what` begins the message. */
export function checkColourJitter(what: string, jitter: ColourJitter): void {
  expectOptions(what, jitter, KINDS);
  const { hue = 0, ...factors } = jitter;
  for (const [name, value = 0] of Object.entries(factors)) expectBetween(`${what}: ${name}`, value, 0, 3);
  if (hue >= 0 && hue <= 0.5) return;
  throw new LocalgradError(`${what}: hue must be from 0 to 0.5, not ${shown(hue)}`);
}

type Change = (image: Tensor, by: Tensor) => Tensor;

/** The changes of a jitter, each with the range that it is drawn from, in whole units. */
function changesOf({ brightness = 0, contrast: contrasts = 0, saturation = 0, hue = 0 }: ColourJitter) {
  const factors: [number, Change][] = [[brightness, brighten], [contrasts, contrast], [saturation, saturate]];
  const changes = factors.filter(([by]) => by > 0).map(([by, change]) => ({
    change,
    low: factorOf(Math.max(0, 1 - by)),
    high: factorOf(1 + by),
  }));
  const turn = Math.round(hue * TURN);
  return turn === 0 ? changes : [...changes, { change: shiftHue, low: -turn, high: turn }];
}

/**
 * Changes the colours of each image at random, in random order, as torchvision's `ColorJitter` does: brightness,
 * contrast, saturation and hue.
 *
 * @param images Bytes, i32 `[batch, height, width, channels]`.
 * @param key u32[2]; use a key once.
 * @param rows The images of a batch that these are; default all.
 */
export function jitterColours(
  images: Tensor,
  key: Tensor,
  jitter: ColourJitter,
  rows: Rows = allRows(images),
): Tensor {
  const changes = changesOf(jitter);
  const each = [rows.batch, 1, 1, 1];
  const [order, ...keys] = split(key, 1 + changes.length);
  if (order === undefined || changes.length === 0) return images;
  const amounts = changes.map(({ low, high }, i) =>
    take(integers(at(keys, i), each, high - low + 1), rows).cast("i32").add(low)
  );
  // The place of a change in the order is the number of changes with a smaller random word, or an equal one before it.
  const words = split(order, changes.length).map((one) => take(bits(one, each), rows));
  const places = words.map((word, i) =>
    words.map((other, j) => (j < i ? other.le(word) : other.lt(word)).cast("i32"))
      .reduce((sum, before) => sum.add(before))
  );
  return changes.reduce(
    (image, _, place) =>
      changes.map(({ change }, i) => ({
        here: at(places, i).eq(place),
        changed: change(image, at(amounts, i)),
      }))
        .reduce((result, { here, changed }) => where(here, changed, result), image),
    images,
  );
}
