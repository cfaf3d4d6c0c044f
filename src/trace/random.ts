/**
 * Random numbers inside traced functions, from explicit keys (u32[2]). Every backend draws the same bits as
 * `src/base/random.ts` does on the host.
 *
 * @module
 */

import { LocalgradError } from "../base/errors.ts";
import { expectWhole, shown } from "../base/expect.ts";
import type { Shape } from "./dtype.ts";
import { full, iota, where } from "./functions.ts";
import { expectTensor, type Tensor } from "./tensor.ts";

/**
 * Random 32-bit words.
 *
 * @param key u32[2]; use a key once.
 * @returns u32 of `shape`.
 */
export function bits(key: Tensor, shape: Shape): Tensor {
  return drawn(key, shape, 0);
}

function drawn(key: Tensor, shape: Shape, word: 0 | 1): Tensor {
  expectTensor("random: the key", key);
  return key.trace.emit("randomBits", [key], { shape, word });
}

/** The upper 24 bits of random words, f32, from 0. */
function upper(words: Tensor): Tensor {
  return words.shr(8).cast("f32");
}

/**
 * Uniform random numbers in [0, 1), multiples of 2⁻²⁴.
 *
 * @param key u32[2]; use a key once.
 * @returns f32 of `shape`.
 */
export function uniform(key: Tensor, shape: Shape): Tensor {
  return upper(bits(key, shape)).mul(2 ** -24);
}

/**
 * Random numbers from the standard normal distribution (Box and Muller, 1958): those of `keys.normal` on the host, up
 * to the rounding of logarithm and cosine, in which backends differ.
 *
 * @param key u32[2]; use a key once.
 * @returns f32 of `shape`, of magnitude at most 5.77.
 *
 * @example
 * ```ts
 * import { devices, jit, keys, random, type Tensor } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await using device = await devices.open("cpu");
 * const draw = jit((key: Tensor) => random.normal(key, [3]), { device });
 * using values = draw(keys.key(1));
 * const [, second] = await values.read();
 * assertAlmostEquals(second, keys.normal(keys.key(1), 3)[1], 1e-5);
 * ```
 */
export function normal(key: Tensor, shape: Shape): Tensor {
  // + 1: never the logarithm of 0.
  const radius = upper(bits(key, shape)).add(1).mul(2 ** -24).log().mul(-2).sqrt();
  return radius.mul(upper(drawn(key, shape, 1)).mul(2 * Math.PI * 2 ** -24).cos());
}

/**
 * Random choices: true with a probability, which is rounded to a multiple of 2⁻²⁴.
 *
 * @param key u32[2]; use a key once.
 * @param probability In [0, 1]: a number, or f32 that broadcasts to `shape`.
 * @returns bool of `shape`.
 * @throws {LocalgradError} for another number.
 */
export function bernoulli(key: Tensor, shape: Shape, probability: number | Tensor): Tensor {
  if (typeof probability === "number" && !(probability >= 0 && probability <= 1)) {
    throw new LocalgradError(
      `random.bernoulli: the probability must be in [0, 1], not ${shown(probability)}`,
    );
  }
  return uniform(key, shape).lt(probability);
}

/**
 * Random integers in [0, `limit`), uniform to within 2⁻²⁴.
 *
 * @param key u32[2]; use a key once.
 * @param limit A whole number from 1 to 2²⁴.
 * @returns u32 of `shape`.
 * @throws {LocalgradError} if `limit` is out of range.
 */
export function integers(key: Tensor, shape: Shape, limit: number): Tensor {
  expectWhole("random.integers: limit", limit, 1, 2 ** 24);
  return uniform(key, shape).mul(limit).floor().minimum(limit - 1).cast("u32");
}

/** Derives `count` new keys (u32[2] each) from one: the same as `split` on the host. */
export function split(key: Tensor, count: number = 2): Tensor[] {
  const words = bits(key, [count, 2]);
  return Array.from({ length: count }, (_, i) => words.slice([i, 0], [i + 1, 2]).reshape(2));
}

const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]] as const;

/**
 * Derives a key from a key and a number, such as a step or the index of a block: the same as `foldIn` on the host.
 *
 * @param key u32[2].
 * @param n A whole number below 2³², or a scalar, u32 or i32.
 * @returns u32[2].
 * @throws {LocalgradError} for another number.
 *
 * @example
 * ```ts
 * import { devices, jit, keys, random, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const derive = jit((key: Tensor, step: Tensor) => random.foldIn(key, step.cast("u32")), { device });
 * using key = derive(keys.key(1), 7);
 * assertEquals([...await key.read()], [...keys.foldIn(keys.key(1), 7)]);
 * ```
 */
export function foldIn(key: Tensor, n: number | Tensor): Tensor {
  expectTensor("random.foldIn: the key", key);
  if (typeof n === "number") expectWhole("random.foldIn: the number", n, 0, 2 ** 32 - 1);
  // Threefry of the counter (n, 1), in scalars: the op `randomBits` counts from 0 and always has 0 for the second word.
  const word = (i: number) => key.slice([i], [i + 1]);
  const [k0, k1] = [word(0), word(1)];
  const schedule = [k0, k1, k0.xor(k1).xor(0x1bd11bda)] as const;
  let a = (typeof n === "number" ? full([1], n, "u32") : n.reshape(1).cast("u32")).add(k0);
  let b = k1.add(1);
  for (let group = 1; group <= 5; group++) {
    for (const turn of group % 2 === 1 ? ROTATIONS[0] : ROTATIONS[1]) {
      a = a.add(b);
      b = b.shl(turn).or(b.shr(32 - turn)).xor(a);
    }
    a = a.add(part(schedule, group));
    b = b.add(part(schedule, group + 1)).add(group);
  }
  return where(iota([2]).eq(0), a.broadcastTo([2]), b.broadcastTo([2]));
}

/** The part of a key schedule that a group of rounds adds. */
function part([k0, k1, k2]: readonly [Tensor, Tensor, Tensor], group: number): Tensor {
  return group % 3 === 0 ? k0 : group % 3 === 1 ? k1 : k2;
}
