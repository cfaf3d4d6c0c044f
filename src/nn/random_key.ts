import { at } from "../base/at.ts";
import { concat } from "../trace/functions.ts";
import { split } from "../trace/random.ts";
import type { Tensor } from "../trace/tensor.ts";

/** Derives key `index` of those that a key (u32[2]) is split into, as on the host; none from none. */
export function derivedKey(key: Tensor | undefined, index: number): Tensor | undefined {
  if (key === undefined) return undefined;
  const words = at(split(key, index + 1), index);
  // A joined value is kept in memory: otherwise every element drawn from the key would derive the key anew.
  return concat([words.slice([0], [1]), words.slice([1], [2])]);
}
