import { LocalgradError } from "../base/errors.ts";
import { type Modules, type SplitName, splitNames } from "../local.ts";
import { type Flags, type Given, givenAs, oneOf, wholeNumber } from "./flags/flags.ts";

/** Flags for the cut of a network. */
export const cutFlags = {
  modules: { value: "K", help: "number of local modules; default 3" },
  after: { value: "BLOCK,…", help: "cut after these blocks instead, such as layer1.0,layer2.0" },
  split: {
    value: `${splitNames.join("|")}|balanced`,
    help:
      "a published split into K modules (infopro of a DenseNet or VGG: by its rule), or the boundaries with the lowest planned peak memory; " +
      "default: the first of these splits that has K modules, else even by blocks",
  },
} as const satisfies Flags;

/** A cut in settings: K, the blocks to cut after, a published split, or balanced boundaries. */
export type Cut =
  | number
  | readonly string[]
  | { readonly published: SplitName; readonly modules: number }
  | { readonly balanced: number };

/** Reads the cut from flags; undefined if none is given. */
export function cutFrom({ modules, after, split }: Given<typeof cutFlags>): Cut | undefined {
  if (after !== undefined) {
    const other = modules !== undefined ? "modules" : split !== undefined ? "split" : undefined;
    if (other !== undefined) {
      throw new LocalgradError(`--${other} and --after both define the cut; give one`);
    }
    return after.split(",").map((name) => name.trim());
  }
  const count = modules === undefined ? undefined : wholeNumber("modules", modules, 1);
  if (split === undefined) return count;
  if (count === undefined) {
    throw new LocalgradError("--split needs a number of modules; give --modules too");
  }
  const published = oneOf<SplitName | "balanced">("split", split, [...splitNames, "balanced"]);
  return published === "balanced" ? { balanced: count } : { published, modules: count };
}

/** The flags that say what a cut says: the inverse of {@link cutFrom}. */
export function cutGiven(cut: Cut): Given<typeof cutFlags> {
  const [modules, split, after] = typeof cut === "number"
    ? [cut]
    : "balanced" in cut
    ? [cut.balanced, "balanced"]
    : "published" in cut
    ? [cut.modules, cut.published]
    : [undefined, undefined, cut.join()];
  return givenAs<typeof cutFlags>({ modules, split, after });
}

/** Converts a cut to the library's type. */
export function modulesOf(cut: Cut): Modules {
  return typeof cut === "object" && "length" in cut ? { after: cut } : cut;
}

/** Replaces balanced boundaries with even ones, so that a setup can be checked without planning. */
export function unplanned(modules: Modules): Modules {
  return typeof modules === "object" && "balanced" in modules ? modules.balanced : modules;
}
