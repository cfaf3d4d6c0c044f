import { LocalgradError } from "../base/errors.ts";
import { expectObject } from "../base/expect.ts";
import { checkAugmentation } from "../data/augmentation/augmentation.ts";
import {
  checkMapAugmentation,
  mapsFault,
  PIXEL_SET_KINDS,
  type PixelDataset,
  type PixelPart,
} from "../data/label_maps.ts";
import { checkSignature } from "../data/signature.ts";
import type { Model } from "../models/model.ts";
import { imagesFault } from "./dataset.ts";

/** Refuses labelled pixels that a network cannot be trained or evaluated on; `who` begins the message. */
export function checkPixelSet(
  who: string,
  model: Model,
  dataset: PixelDataset<PixelPart>,
  parts: readonly ("train" | "test")[],
): void {
  expectObject(`${who}: the data set`, dataset, PIXEL_SET_KINDS);
  const { name, classes, height, width, channels, augmentation } = dataset;
  if (parts.includes("test") && dataset.test === undefined) {
    throw new LocalgradError(`${who}: ${name} has no test part`);
  }
  checkSignature(who, name, dataset, model);
  if (parts.includes("train") && augmentation !== undefined) {
    const what = `${who}: the augmentation of ${name}`;
    checkMapAugmentation(what, augmentation);
    checkAugmentation(what, augmentation, { height, width, channels, bytes: true });
  }
  for (const part of parts) {
    const { [part]: given } = dataset;
    if (given === undefined) continue; // refused above
    const fault = imagesFault(given, height * width * channels) ??
      ("maps" in given || "images" in given
        ? mapsFault("maps" in given ? given.maps : undefined, given.count, height * width, classes.length)
        : undefined);
    if (fault !== undefined) throw new LocalgradError(`${who}: the ${part} part of ${name} ${fault}`);
  }
}
