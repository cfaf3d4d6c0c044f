/**
 * Random numbers inside traced functions, from explicit keys (u32[2]). Every backend gives the same bits as
 * `src/base/random.ts` does on the host.
 *
 * @module
 */

import { expectWhole } from "../base/expect.ts";
import type { Shape } from "./dtype.ts";
import { expectTensor, type Tensor } from "./tensor.ts";

/**
 * Random 32-bit words.
 *
 * @param key u32[2]; use a key once.
 * @returns u32 of `shape`.
 */
export function bits(key: Tensor, shape: Shape): Tensor {
  expectTensor("random: the key", key);
  return key.trace.emit("randomBits", [key], { shape });
}

/**
 * Uniform random numbers in [0, 1), multiples of 2⁻²⁴.
 *
 * @param key u32[2]; use a key once.
 * @returns f32 of `shape`.
 */
export function uniform(key: Tensor, shape: Shape): Tensor {
  return bits(key, shape).shr(8).cast("f32").mul(2 ** -24);
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
