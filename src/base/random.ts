/**
 * Random numbers on the host from explicit keys: Threefry-2×32 with 20 rounds (Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011), counter-based, so every element can be computed on its own and the same
 * key gives the same bits on every backend and on the host.
 *
 * @module
 */

import { LocalgradError } from "./errors.ts";
import { expectWhole, shown } from "./expect.ts";

/** A random key: two 32-bit words. A key is used once; derive new ones with {@link split} or {@link foldIn}. */
export type Key = Uint32Array;

const PARITY = 0x1bd11bda; // Skein's key-schedule constant, as Threefry prescribes
const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]] as const;

/** The key of a seed: its low and high 32 bits. `seed` is a non-negative safe integer. */
export function key(seed: number): Key {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new LocalgradError(`a seed is a non-negative integer below 2^53, not ${shown(seed)}`);
  }
  return Uint32Array.of(seed >>> 0, Math.floor(seed / 2 ** 32));
}

/** Encrypts the counter words `(x0, x1)` under `key`: two random 32-bit words, written to `out`. */
export function threefry2x32(
  key: Key,
  x0: number,
  x1: number,
  out: Uint32Array = new Uint32Array(2),
): Uint32Array {
  expectKey(key);
  const schedule = [key[0], key[1], (key[0] ^ key[1] ^ PARITY) | 0];
  let a = (x0 + schedule[0]) | 0;
  let b = (x1 + schedule[1]) | 0;
  for (let group = 0; group < 5; group++) {
    for (const r of ROTATIONS[group % 2]) {
      a = (a + b) | 0;
      b = ((b << r) | (b >>> (32 - r))) ^ a;
    }
    a = (a + schedule[(group + 1) % 3]) | 0;
    b = (b + schedule[(group + 2) % 3] + group + 1) | 0;
  }
  out[0] = a;
  out[1] = b;
  return out;
}

/** A new key from `key` and a number, such as an epoch, a step or a module index. */
export function foldIn(key: Key, n: number): Key {
  return threefry2x32(key, n, 1);
}

/** `count` new keys from one: consecutive pairs of its {@link bits}, which programs can compute too. */
export function split(key: Key, count = 2): Key[] {
  expectWhole("split: the count", count, 0);
  const words = bits(key, 2 * count);
  return Array.from({ length: count }, (_, i) => words.slice(2 * i, 2 * i + 2));
}

/** `count` random 32-bit words; the same as the op `randomBits` gives for a shape of that many elements. */
export function bits(key: Key, count: number): Uint32Array {
  expectKey(key);
  expectWhole("random bits: the count", count, 0);
  const result = new Uint32Array(count);
  const words = new Uint32Array(2);
  for (let i = 0; i < count; i++) result[i] = threefry2x32(key, i, 0, words)[0];
  return result;
}

/** `count` float32 values in [0, 1), multiples of 2⁻²⁴. */
export function uniform(key: Key, count: number): Float32Array {
  return Float32Array.from(bits(key, count), (b) => (b >>> 8) * 2 ** -24);
}

/** `count` float32 values of the standard normal distribution (Box and Muller, 1958). */
export function normal(key: Key, count: number): Float32Array {
  expectKey(key);
  expectWhole("random normals: the count", count, 0);
  const result = new Float32Array(count);
  const words = new Uint32Array(2);
  for (let i = 0; i < count; i++) {
    threefry2x32(key, i, 0, words);
    const radius = Math.sqrt(-2 * Math.log(((words[0] >>> 8) + 1) * 2 ** -24)); // +1: log of (0, 1]
    result[i] = radius * Math.cos(2 * Math.PI * (words[1] >>> 8) * 2 ** -24);
  }
  return result;
}

/** The numbers 0 … count−1 in random order (Fisher and Yates). */
export function permutation(key: Key, count: number): Uint32Array {
  expectWhole("permutation: the count", count, 0);
  const result = Uint32Array.from({ length: count }, (_, i) => i);
  const random = bits(key, count);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random[i] / 2 ** 32 * (i + 1));
    const value = result[i];
    result[i] = result[j];
    result[j] = value;
  }
  return result;
}

function expectKey(key: Key): void {
  if (key instanceof Uint32Array && key.length === 2) return;
  throw new LocalgradError(
    `a random key is a Uint32Array of two words, as keys.key() makes it, not ${shown(key)}`,
  );
}
