import { LocalgradError } from "../base/errors.ts";
import { type Modules, type SplitName, splitNames } from "../local.ts";
import { type Flags, type Given, oneOf, wholeNumber } from "./flags.ts";

/** Flags that say where a network is cut. */
export const cutFlags = {
  modules: { value: "K", help: "number of local modules; default 3" },
  after: { value: "BLOCK,…", help: "cut after these blocks instead, such as layer1.0,layer2.0" },
  split: {
    value: `${splitNames.join("|")}|balanced`,
    help: "whose published split into K modules, or the boundaries with the lowest planned peak; " +
      "default the first split of these that has K, or even by blocks",
  },
} as const satisfies Flags;

/** A cut as settings keep it: K, the blocks to cut after, a published split, or balanced. */
export type Cut =
  | number
  | readonly string[]
  | { readonly published: SplitName; readonly modules: number }
  | { readonly balanced: number };

/** The cut that flags say; undefined where they say none. */
export function cutFrom({ modules, after, split }: Given<typeof cutFlags>): Cut | undefined {
  if (after !== undefined) {
    const other = modules !== undefined ? "modules" : split !== undefined ? "split" : undefined;
    if (other !== undefined) {
      throw new LocalgradError(`--${other} and --after both say where to cut; give one`);
    }
    return after.split(",").map((name) => name.trim());
  }
  const count = modules === undefined ? undefined : wholeNumber("modules", modules, 1);
  if (split === undefined) return count;
  if (count === undefined) {
    throw new LocalgradError("--split is for some number of modules; give --modules too");
  }
  if (split === "balanced") return { balanced: count };
  return { published: oneOf("split", split, [...splitNames, "balanced"]) as SplitName, modules: count };
}

/** The cut as the library takes it. */
export function modulesOf(cut: Cut): Modules {
  return Array.isArray(cut) ? { after: cut } : cut as Exclude<Cut, readonly string[]>;
}

/** The same with balanced boundaries as even ones: what can be refused without planning is refused by those. */
export function unplanned(modules: Modules): Modules {
  return typeof modules === "object" && "balanced" in modules ? modules.balanced : modules;
}
