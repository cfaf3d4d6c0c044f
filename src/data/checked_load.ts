import { expectOptions, type Kinds } from "../base/expect.ts";
import type { DatasetEntry, LoadOptions } from "./entry.ts";

const LOAD_KINDS = {
  path: "string?",
  size: "number?",
  limits: "object?",
  onProgress: "function?",
  onCheck: "function?",
  onLeftOut: "function?",
} as const satisfies Kinds<LoadOptions>;

/** The `load` of an entry: refuses options that no data set has, and rejects rather than throws. */
export function checkedLoad(name: string, load: DatasetEntry["load"]): DatasetEntry["load"] {
  return async (options) => {
    expectOptions(`load of ${name}`, options, LOAD_KINDS);
    expectOptions(`load of ${name}: limits`, options.limits ?? {}, { train: "number?", test: "number?" });
    return await load(options);
  };
}
