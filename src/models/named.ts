import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";
import type { Model } from "./model.ts";
import * as networks from "./networks.ts";
import type { ModelOptions } from "./options.ts";

/** The name of a network of the index, such as `resnet50`. */
export type ModelName = keyof typeof networks;

/** A function that makes a network. */
export type ModelMaker = (options?: ModelOptions) => Model;

/** Returns makers by the names under which an index exports them, sorted by name with numbers in numeric order. */
export function modelsByName(
  index: { readonly [name: string]: ModelMaker },
): ReadonlyMap<string, ModelMaker> {
  return new Map(
    Object.entries(index).sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true })),
  );
}

const known = modelsByName(networks);

/** The names of all networks. */
export const modelNames: readonly ModelName[] = [...known.keys()] as ModelName[];

/**
 * Makes a network by its name.
 *
 * @example
 * ```ts
 * import { models } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const model = models.modelNamed("resnet50", { classes: 102, size: 128 });
 * assertEquals(model.blocks.length, 16);
 * ```
 */
export function modelNamed(name: string, options: ModelOptions = {}): Model {
  const make = known.get(name);
  if (make === undefined) {
    throw new LocalgradError(
      `there is no network ${shown(name)}; choose one of ${modelNames.join(", ")}`,
    );
  }
  return make(options);
}
