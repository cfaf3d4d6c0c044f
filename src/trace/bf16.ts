/**
 * bfloat16: the upper half of a float32, with its range and 8 of its 24 significant bits. On the host an element is
 * kept as its 16 bits; arithmetic on it uses the float64 of the same value.
 *
 * @module
 */

import { at } from "../base/at.ts";
import { expectKind } from "../base/expect.ts";

const floats = new Float32Array(1);
const words = new Uint32Array(floats.buffer);

/** The bits of the bfloat16 nearest to a number that was rounded to float32 first; ties go to even. */
export function bf16Bits(x: number): number {
  floats[0] = x;
  const word = at(words, 0);
  if (Number.isNaN(floats[0])) return 0x7fff; // as hardware converts it
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** The value of the bfloat16 with these 16 bits. */
export function bf16Value(bits: number): number {
  words[0] = bits << 16;
  return at(floats, 0);
}

/** A number rounded to bfloat16. */
export function roundBf16(x: number): number {
  return bf16Value(bf16Bits(x));
}

/**
 * Converts numbers to the bits of the nearest bfloat16 values, from which a bf16 array is made.
 *
 * @param values Numbers in any list or typed array.
 * @returns One 16-bit word per number.
 * @throws {LocalgradError} if `values` is not a list.
 *
 * @example
 * ```ts
 * import { devices, fromBf16, jit, type Tensor, toBf16 } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference"); // or "cuda", or "cpu" with oneDNN on AVX-512 BF16
 * using x = device.array(toBf16([1, 0.1, -3]));
 * using y = jit((x: Tensor) => x.mul(2))(x);
 * assertEquals([y.dtype, ...fromBf16(await y.read("bf16"))], ["bf16", 2, 0.2001953125, -6]);
 * ```
 */
export function toBf16(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  expectKind("toBf16: the values", values, "array");
  return Uint16Array.from(values, bf16Bits);
}

/**
 * Converts the bits of bfloat16 values, as `read()` returns for a bf16 array, to numbers.
 *
 * @throws {LocalgradError} if `bits` is not a list.
 */
export function fromBf16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  expectKind("fromBf16: the bits", bits, "array");
  return Float32Array.from(bits, bf16Value);
}
