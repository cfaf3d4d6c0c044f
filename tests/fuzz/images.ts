import type { ImageDataset } from "../../src/data/images.ts";

/** Throws if the contents of a data set are not consistent. */
export function checkImages({ classes, height, width, channels, train, test }: ImageDataset): void {
  for (const { images, labels, count } of [train, test]) {
    const each = height * width * channels;
    if (images.length !== count * each || labels.length !== count) throw new Error("wrong lengths");
    if (labels.some((label) => label < 0 || label >= classes.length)) throw new Error("a wrong label");
  }
}
