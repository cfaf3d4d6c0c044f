/**
 * bfloat16: the upper half of a float32, which keeps its range and 8 of its 24 bits. On the host an element is its 16
 * bits; where a number is needed it is the float64 that has exactly its value.
 *
 * @module
 */

import { expectKind } from "../base/expect.ts";

const floats = new Float32Array(1);
const words = new Uint32Array(floats.buffer);

/** The bits of the bfloat16 nearest to a number, which is a float32 first; ties go to the even one. */
export function bf16Bits(x: number): number {
  floats[0] = x;
  const word = words[0];
  if (Number.isNaN(floats[0])) return 0x7fff; // as the hardware's conversion gives it
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}

/** The number that 16 bits stand for. */
export function bf16Value(bits: number): number {
  words[0] = bits << 16;
  return floats[0];
}

/** The bfloat16 nearest to a number, as a number. */
export function roundBf16(x: number): number {
  return bf16Value(bf16Bits(x));
}

/**
 * The bits of the bfloat16s nearest to numbers: what an array of dtype bf16 is made from, and read as.
 *
 * @example
 * ```ts
 * import { devices, fromBf16, jit, type Tensor, toBf16 } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference"); // or "cuda"; cpu and webgpu have no bf16
 * using x = device.array(toBf16([1, 0.1, -3]));
 * using y = jit((x: Tensor) => x.mul(2))(x);
 * assertEquals([y.dtype, ...fromBf16(await y.read() as Uint16Array)], ["bf16", 2, 0.2001953125, -6]);
 * ```
 */
export function toBf16(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  expectKind("toBf16: the values", values, "array");
  return Uint16Array.from(values, bf16Bits);
}

/** The numbers that bits stand for. */
export function fromBf16(bits: Uint16Array): Float32Array<ArrayBuffer> {
  expectKind("fromBf16: the bits", bits, "array");
  return Float32Array.from(bits, bf16Value);
}
