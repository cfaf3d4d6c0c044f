import { expectKind, expectOptions, expectWhole, pairFrom } from "../base/expect.ts";
import type { Both } from "../trace/functions.ts";
import type { ImageInput, Model } from "./model.ts";

/** Options of every network of the index. */
export interface ModelOptions {
  /** The number of classes; each network documents its default. */
  classes?: number;
  /** Height and width of the images, one number where they are equal; each network documents its default. */
  size?: Both;
}

/** Resolves options and defaults to a number of classes and the shape of colour images; refuses impossible values. */
export function described(
  name: string,
  options: ModelOptions,
  defaults: { readonly classes: number; readonly size: number },
): Pick<Model, "name" | "classes"> & { readonly input: ImageInput } {
  expectKind("a network's name", name, "string");
  expectOptions(name, options, { classes: "number?", size: "any?" });
  const { classes = defaults.classes, size = defaults.size } = options;
  const [height, width] = pairFrom(`${name}: size`, size, 1);
  expectWhole(`${name}: classes`, classes);
  return { name, classes, input: { height, width, channels: 3 } };
}
