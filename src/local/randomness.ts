/**
 * The random key of a training step, which layers such as dropout need: four numbers among the step's scalars, because these
 * are f32. Where no layer is random, of the network or of an auxiliary network, there is none.
 *
 * @module
 */

import { at } from "../base/at.ts";
import type { Key } from "../base/random.ts";
import { isRandom, type Model } from "../models/model.ts";
import { derivedKey } from "../nn/random_key.ts";
import type { Scalars } from "../optim/optimizer.ts";
import { concat } from "../trace/functions.ts";
import { type Operand, Tensor } from "../trace/tensor.ts";
import type { Auxiliary, TrainingBatch } from "./method.ts";

/** The names of the scalars: the high and low 16 bits of each word of the key. */
const NAMES = ["key0High", "key0Low", "key1High", "key1Low"] as const;

/** A network and its modules, as far as they say whether a step needs a key. */
interface Randomness {
  readonly model: Model;
  readonly modules: readonly { readonly auxiliary?: Pick<Auxiliary, "random"> }[];
}

/** The scalars that carry a key, if the network or an auxiliary network needs one. */
export function randomScalars({ model, modules }: Randomness, key: Key): Scalars<number> {
  if (!isRandom(model) && modules.every(({ auxiliary }) => auxiliary?.random !== true)) return {};
  return Object.fromEntries(NAMES.map((name, i) => {
    const word = at(key, i >> 1);
    return [name, i % 2 === 0 ? word >>> 16 : word & 0xffff];
  }));
}

/** The key (u32[2]) that a step's scalars carry, if they do. */
export function keyIn(scalars: Scalars<Operand>): Tensor | undefined {
  const halves = NAMES.flatMap((name): Tensor[] => {
    const value = scalars[name];
    return value instanceof Tensor ? [value.cast("u32").reshape(1)] : [];
  });
  if (halves.length < NAMES.length) return undefined;
  return concat([0, 2].map((i) => at(halves, i).shl(16).or(at(halves, i + 1))));
}

/** A batch with a key of its own: number `index` of those of its key. */
export function keyed(batch: TrainingBatch, index: number): TrainingBatch {
  return withKey(batch, derivedKey(batch.key, index));
}

/** A batch with a key. */
export function withKey(batch: TrainingBatch, key: Tensor | undefined): TrainingBatch {
  if (key === undefined) return batch;
  // Not a copy, which would read `x` and `images`: some batches have none.
  return Object.create(batch, { key: { value: key, enumerable: true } });
}
