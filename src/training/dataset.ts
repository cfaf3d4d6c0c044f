import { LocalgradError } from "../base/errors.ts";
import { expectObject, shown } from "../base/expect.ts";
import { CIFAR_AUGMENTATION } from "../data/augment.ts";
import { checkAugmentation } from "../data/augmentation/augmentation.ts";
import { type ImageDataset, type ImagePart, SET_KINDS } from "../data/images.ts";
import { checkSignature } from "../data/signature.ts";
import type { Model } from "../models/model.ts";

/**
 * Refuses a data set that a network cannot be trained or evaluated on: images of another size, more classes than the
 * network has, or parts that contradict themselves, whose labels would be clamped or read as no class. `who` begins the
 * message.
 */
export function checkDataset(
  who: string,
  model: Model,
  dataset: Omit<ImageDataset<ImagePart>, "test"> & { readonly test?: ImagePart },
  parts: readonly ("train" | "test")[],
): void {
  expectObject(`${who}: the data set`, dataset, { ...SET_KINDS, test: "object?" });
  if (parts.includes("test") && dataset.test === undefined) {
    throw new LocalgradError(`${who}: ${dataset.name} has no test part`);
  }
  const { name, classes, height, width, channels, augmentation = CIFAR_AUGMENTATION } = dataset;
  checkSignature(who, name, dataset, model);
  // Images that are read on demand are cropped and mirrored by their reader.
  if (parts.includes("train") && ("images" in dataset.train || dataset.augmentation !== undefined)) {
    checkAugmentation(`${who}: the augmentation of ${name}`, augmentation, {
      height,
      width,
      channels,
      bytes: true,
    });
  }
  for (const part of parts) {
    const images = dataset[part];
    if (images === undefined) continue; // refused above
    const fault = faultOf(images, height * width * channels, classes.length);
    if (fault !== undefined) throw new LocalgradError(`${who}: the ${part} part of ${name} ${fault}`);
  }
}

/** The fault of a part whose images have `size` bytes each; undefined if there is none. */
function faultOf(part: ImagePart, size: number, classes: number): string | undefined {
  const { count, labels } = part;
  if (typeof labels?.findIndex !== "function") return "has no list of labels";
  const fault = imagesFault(part, size);
  if (fault !== undefined) return fault;
  if (labels.length !== count) return `has ${count} images and ${labels.length} labels`;
  const wrong = labels.findIndex((label) => !(label >= 0 && label < classes));
  if (wrong < 0) return undefined;
  return `is mislabelled: image ${wrong} has class ${labels[wrong]}; ${classes} classes are 0 to ${
    classes - 1
  }`;
}

/** The fault of images of `size` bytes each, without their labels; undefined if there is none. */
export function imagesFault(
  part: { readonly count: number; readonly images?: Uint8Array; readonly open?: unknown },
  size: number,
): string | undefined {
  if (part.images !== undefined && !(part.images instanceof Uint8Array) && ArrayBuffer.isView(part.images)) {
    return `has pixels as ${shown(part.images)}; they are bytes from 0 to 255: for values in [0, 1], ` +
      "Uint8Array.from(images, (value) => Math.round(255 * value))";
  }
  if (!(part.images !== undefined ? part.images instanceof Uint8Array : typeof part.open === "function")) {
    return "has neither pixels (`images`, a Uint8Array) nor a reader (`open`)";
  }
  const { count } = part;
  if (!Number.isInteger(count) || count < 1) return `has ${count} images; it needs at least one`;
  if (part.images !== undefined && part.images.length !== count * size) {
    return `has ${part.images.length} bytes of pixels; ${count} images of ${size} are ${count * size}`;
  }
  if (part.images?.every((byte) => byte <= 1)) {
    return "has no byte above 1: pixels are bytes from 0 to 255, and values in [0, 1] were made bytes; multiply them " +
      "by 255 first";
  }
  return undefined;
}
