/**
 * Random numbers on the host from explicit keys: Threefry-2×32 with 20 rounds (Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011). The generator is counter-based: each element is computed on its own, so a key
 * gives the same bits on the host and on every backend.
 *
 * @module
 */

import { at } from "./at.ts";
import { LocalgradError } from "./errors.ts";
import { expectWhole, shown } from "./expect.ts";

/** A random key: two 32-bit words. Use a key once; derive new ones with {@link split} or {@link foldIn}. */
export type Key = Uint32Array;

const PARITY = 0x1bd11bda; // Skein's key-schedule constant, as Threefry prescribes
const ROTATIONS: readonly [readonly number[], readonly number[]] = [[13, 15, 26, 6], [17, 29, 16, 24]];

/**
 * Makes a key from a seed: its low and high 32 bits.
 *
 * @param seed A whole number from 0, below 2⁵³.
 * @throws {LocalgradError} for anything else.
 */
export function key(seed: number): Key {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new LocalgradError(`a seed must be a non-negative integer below 2^53, not ${shown(seed)}`);
  }
  return Uint32Array.of(seed >>> 0, Math.floor(seed / 2 ** 32));
}

/**
 * Encrypts the counter words `(x0, x1)` under `key`, which gives two random 32-bit words.
 *
 * @param out Where to write the words; default: a new array.
 * @returns `out`.
 * @throws {LocalgradError} if `key` is not a key.
 */
export function threefry2x32(
  key: Key,
  x0: number,
  x1: number,
  out: Uint32Array = new Uint32Array(2),
): Uint32Array {
  expectKey(key);
  let [k0, k1] = [at(key, 0), at(key, 1)];
  let k2 = (k0 ^ k1 ^ PARITY) | 0;
  let [rotations, others] = ROTATIONS;
  let a = (x0 + k0) | 0;
  let b = (x1 + k1) | 0;
  for (let group = 1; group <= 5; group++) {
    for (const r of rotations) {
      a = (a + b) | 0;
      b = ((b << r) | (b >>> (32 - r))) ^ a;
    }
    [k0, k1, k2] = [k1, k2, k0];
    [rotations, others] = [others, rotations];
    a = (a + k0) | 0;
    b = (b + k1 + group) | 0;
  }
  out[0] = a;
  out[1] = b;
  return out;
}

/** Derives a key from `key` and a number, such as an epoch, a step or a module index. */
export function foldIn(key: Key, n: number): Key {
  return threefry2x32(key, n, 1);
}

/** Derives `count` keys from one: consecutive pairs of its {@link bits}. Programs compute the same with `random.split`. */
export function split(key: Key, count = 2): Key[] {
  expectWhole("split: count", count, 0);
  const words = bits(key, 2 * count);
  return Array.from({ length: count }, (_, i) => words.slice(2 * i, 2 * i + 2));
}

/** `count` random 32-bit words: the elements of the op `randomBits` for a shape of that size. */
export function bits(key: Key, count: number): Uint32Array {
  expectKey(key);
  expectWhole("random bits: count", count, 0);
  const result = new Uint32Array(count);
  const words = new Uint32Array(2);
  for (let i = 0; i < count; i++) result[i] = at(threefry2x32(key, i, 0, words), 0);
  return result;
}

/** `count` uniform float32 numbers in [0, 1), multiples of 2⁻²⁴. */
export function uniform(key: Key, count: number): Float32Array {
  return Float32Array.from(bits(key, count), (b) => (b >>> 8) * 2 ** -24);
}

/** `count` float32 numbers from the standard normal distribution (Box and Muller, 1958). */
export function normal(key: Key, count: number): Float32Array {
  expectKey(key);
  expectWhole("random normals: count", count, 0);
  const result = new Float32Array(count);
  const words = new Uint32Array(2);
  for (let i = 0; i < count; i++) {
    threefry2x32(key, i, 0, words);
    const radius = Math.sqrt(-2 * Math.log(((at(words, 0) >>> 8) + 1) * 2 ** -24)); // + 1: never the log of 0
    result[i] = radius * Math.cos(2 * Math.PI * (at(words, 1) >>> 8) * 2 ** -24);
  }
  return result;
}

/** The numbers from 0 to `count − 1` in random order (Fisher and Yates). */
export function permutation(key: Key, count: number): Uint32Array {
  expectWhole("permutation: count", count, 0);
  const result = Uint32Array.from({ length: count }, (_, i) => i);
  const random = bits(key, count);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(at(random, i) / 2 ** 32 * (i + 1));
    [result[i], result[j]] = [at(result, j), at(result, i)];
  }
  return result;
}

function expectKey(key: Key): void {
  if (key instanceof Uint32Array && key.length === 2) return;
  throw new LocalgradError(
    `a random key must be a Uint32Array of two words, as keys.key() returns, not ${shown(key)}`,
  );
}
