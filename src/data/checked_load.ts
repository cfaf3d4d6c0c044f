import { expectOptions, type Kinds } from "../base/expect.ts";
import type { DatasetEntry, LoadOptions } from "./entry.ts";
import { type ImageDataset, limitImages } from "./images.ts";
import type { PublishedOptions } from "./publication.ts";

const LOAD_KINDS = {
  path: "string?",
  size: "any?",
  limits: "object?",
  onProgress: "function?",
  onCheck: "function?",
  onLeftOut: "function?",
} as const satisfies Kinds<LoadOptions>;

/** The `load` of an entry: refuses options that no data set has, and rejects rather than throws. */
export function checkedLoad<Set>(name: string, load: DatasetEntry<Set>["load"]): DatasetEntry<Set>["load"] {
  return async (options) => {
    expectOptions(`load of ${name}`, options, LOAD_KINDS);
    expectOptions(`load of ${name}: limits`, options.limits ?? {}, { train: "number?", test: "number?" });
    return await load(options);
  };
}

/** The `load` of the entry of a published set, which `load` reads. */
export function publishedLoad(
  name: string,
  load: (options: PublishedOptions) => Promise<ImageDataset>,
): DatasetEntry["load"] {
  return checkedLoad(name, async ({ limits = {}, path, onProgress }) =>
    limitImages(
      await load({
        ...path === undefined ? {} : { path },
        ...onProgress === undefined ? {} : { onProgress },
      }),
      limits,
    ));
}
