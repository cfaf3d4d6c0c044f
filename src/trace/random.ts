/**
 * Random numbers inside traced functions, from explicit keys (u32[2]); the same bits on every backend and as
 * `src/base/random.ts` gives on the host.
 *
 * @module
 */

import { expectWhole } from "../base/expect.ts";
import type { Shape } from "./dtype.ts";
import { expectTensor, type Tensor } from "./tensor.ts";

/** Random 32-bit words. */
export function bits(key: Tensor, shape: Shape): Tensor {
  expectTensor("random: the key", key);
  return key.trace.emit("randomBits", [key], { shape });
}

/** f32 in [0, 1), multiples of 2⁻²⁴. */
export function uniform(key: Tensor, shape: Shape): Tensor {
  return bits(key, shape).shr(8).cast("f32").mul(2 ** -24);
}

/** u32 in [0, limit): uniform to within 2⁻²⁴; `limit` is a whole number of at most 2²⁴, which is refused otherwise. */
export function integers(key: Tensor, shape: Shape, limit: number): Tensor {
  expectWhole("random.integers: limit", limit, 1, 2 ** 24);
  return uniform(key, shape).mul(limit).floor().minimum(limit - 1).cast("u32");
}

/** `count` new keys from one, as `split` on the host. */
export function split(key: Tensor, count: number = 2): Tensor[] {
  const words = bits(key, [count, 2]);
  return Array.from({ length: count }, (_, i) => words.slice([i, 0], [i + 1, 2]).reshape(2));
}
