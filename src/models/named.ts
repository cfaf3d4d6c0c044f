import { LocalgradError } from "../errors.ts";
import type { Model } from "./model.ts";
import * as networks from "./networks.ts";
import type { ModelOptions } from "./options.ts";

/** The name of a network of the index, such as `resnet50`. */
export type ModelName = keyof typeof networks;

const byName: ReadonlyMap<string, (options?: ModelOptions) => Model> = new Map(Object.entries(networks));

/** The names of all networks. */
export const modelNames: readonly ModelName[] = [...byName.keys()].sort(byDepth) as ModelName[];

/** By kind, then by number of layers, as people list them. */
function byDepth(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

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
  const make = byName.get(name);
  if (make === undefined) {
    throw new LocalgradError(
      `there is no network ${JSON.stringify(name)}; choose one of ${modelNames.join(", ")}`,
    );
  }
  return make(options);
}
