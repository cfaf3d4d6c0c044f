import { expectKind, expectOptions, expectWhole } from "../base/expect.ts";
import type { Both } from "../trace/functions.ts";
import type { Model } from "./model.ts";

/** Options of every network of the index. */
export interface ModelOptions {
  /** Classes to tell apart; each network says its default. */
  classes?: number;
  /** Rows and columns of an image, one number where it is square; each network says its default. */
  size?: Both;
}

/** What options and their defaults come to: classes, and colour images of some size. Refuses what cannot be. */
export function described(
  name: string,
  options: ModelOptions,
  defaults: { readonly classes: number; readonly size: number },
): Pick<Model, "name" | "classes" | "input"> {
  expectKind("a network's name", name, "string");
  expectOptions(name, options, { classes: "number?", size: "any?" });
  const { classes = defaults.classes, size = defaults.size } = options;
  if (typeof size !== "number") expectKind(`${name}: size`, size, "array");
  const [height, width] = typeof size === "number" ? [size, size] : size;
  for (const [what, value] of [["classes", classes], ["size", height], ["size", width]] as const) {
    expectWhole(`${name}: ${what}`, value);
  }
  return { name, classes, input: { height, width, channels: 3 } };
}
