/**
 * Damages valid inputs: their bytes, or the JSON in them.
 *
 * @module
 */

import type { Random } from "./random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Lengths and counts that readers get wrong. */
const WORDS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff];

/** A random position in bytes and the length of a piece there; most pieces are short. */
function piece(random: Random, { length }: Bytes): [start: number, end: number] {
  const start = random.below(length + 1);
  const longest = length - start;
  const size = random.percent(70) ? Math.min(longest, random.below(16)) : random.below(longest + 1);
  return [start, start + size];
}

function joined(...parts: readonly Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const damages: readonly ((random: Random, bytes: Bytes, other: Bytes) => Bytes)[] = [
  function flipBit(random, bytes) {
    if (bytes.length > 0) bytes[random.below(bytes.length)] ^= 1 << random.below(8);
    return bytes;
  },
  function setByte(random, bytes) {
    if (bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256);
    return bytes;
  },
  function setWord(random, bytes) {
    const size = random.pick([2, 4, 8]);
    if (bytes.length < size) return bytes;
    const view = new DataView(bytes.buffer);
    const at = random.below(bytes.length - size + 1);
    const [word, little] = [random.pick(WORDS), random.percent(50)];
    if (size === 2) view.setUint16(at, word & 0xffff, little);
    else if (size === 4) view.setUint32(at, word, little);
    else view.setBigUint64(at, BigInt(word) << BigInt(random.pick([0, 0, 21, 32])), little);
    return bytes;
  },
  function cutOff(random, bytes) {
    return bytes.slice(0, random.below(bytes.length + 1));
  },
  function takeOut(random, bytes) {
    const [start, end] = piece(random, bytes);
    return joined(bytes.subarray(0, start), bytes.subarray(end));
  },
  function repeat(random, bytes) {
    const [start, end] = piece(random, bytes);
    return joined(bytes.subarray(0, end), bytes.subarray(start));
  },
  function insert(random, bytes) {
    const at = random.below(bytes.length + 1);
    const noise = Uint8Array.from({ length: random.below(24) }, () => random.below(256));
    return joined(bytes.subarray(0, at), noise, bytes.subarray(at));
  },
  function blank(random, bytes) {
    const [start, end] = piece(random, bytes);
    return bytes.fill(random.pick([0, 0x20, 0xff]), start, end);
  },
  function splice(random, bytes, other) {
    const [start, end] = piece(random, other);
    const at = random.below(bytes.length + 1);
    return joined(
      bytes.subarray(0, at),
      other.subarray(start, end),
      bytes.subarray(Math.min(bytes.length, at + end - start)),
    );
  },
];

/** A copy of one of some valid inputs, damaged in one to four places. */
export function damaged(random: Random, seeds: readonly Uint8Array[]): Bytes {
  let bytes = random.pick(seeds).slice() as Bytes;
  for (let left = 1 + random.below(4); left > 0; left--) {
    bytes = random.pick(damages)(random, bytes, random.pick(seeds) as Bytes);
  }
  return bytes;
}

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A placeholder for nested lists, deeper than a stack allows, which are inserted into the text. */
const DEEP = "<deep>";

/** Values of the wrong type, and meaningless ones of the right type. */
const STRANGE: readonly (() => Json)[] = [
  () => null,
  () => true,
  () => -1,
  () => 0,
  () => 0.5,
  () => 1e308,
  () => 2 ** 53,
  () => 2 ** 31,
  () => -0,
  () => "",
  () => "text",
  () => "NaN",
  () => "../../x",
  () => "__proto__",
  () => "\u0000\ud800",
  () => "x".repeat(10_000),
  () => [],
  () => ({}),
  () => [null],
  () => [[1], [2]],
  () => ({ length: 3 }),
  () => ({ toString: 1, valueOf: 1 }),
  () => JSON.parse('{"__proto__":{"kind":"step"},"constructor":1}'),
  () => DEEP,
];

interface Spot {
  get(): Json;
  set(value: Json): void;
}

/** Every part of a value that can be changed, the value itself first. */
function spots(top: { value: Json }): Spot[] {
  const found: Spot[] = [{ get: () => top.value, set: (value) => top.value = value }];
  const visit = (parent: Json) => {
    if (typeof parent !== "object" || parent === null) return;
    for (const name of Object.keys(parent)) {
      const at = parent as { [name: string]: Json };
      found.push({ get: () => at[name], set: (value) => at[name] = value });
      visit(at[name]);
    }
  };
  visit(top.value);
  return found;
}

function reshape(random: Random, { get, set }: Spot, all: readonly Spot[]): void {
  const here = get();
  const way = random.below(8);
  if (way < 3) return set(random.pick(STRANGE)());
  if (way === 3) return set(structuredClone(random.pick(all).get()));
  if (way === 4) {
    const other = random.pick(all);
    const there = other.get();
    other.set(structuredClone(here));
    return set(structuredClone(there));
  }
  if (typeof here === "number") {
    return set(random.pick([-here, here + 1, here / 3, here * 1e9, String(here)]));
  }
  if (typeof here !== "object" || here === null) return set([here]);
  if (Array.isArray(here)) {
    if (way === 5) here.pop();
    else if (way === 6) here.push(random.pick(STRANGE)());
    else here.push(...here);
    return;
  }
  const names = Object.keys(here);
  if (names.length === 0) return set([]);
  const name = random.pick(names);
  if (way > 5) {
    const renamed = random.pick([`${name}s`, "", "__proto__", "toString", name.toUpperCase()]);
    Object.defineProperty(here, renamed, {
      value: here[name],
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  if (way !== 6) delete here[name];
}

/** A JSON value damaged in one to three places, as text. */
export function reshaped(random: Random, valid: unknown): string {
  const top = { value: structuredClone(valid) as Json };
  for (let left = 1 + random.below(3); left > 0; left--) {
    const all = spots(top);
    reshape(random, random.pick(all), all);
  }
  const depth = random.pick([20, 2_000, 20_000]);
  return JSON.stringify(top.value).replace(`"${DEEP}"`, "[".repeat(depth) + "]".repeat(depth));
}

const utf8 = new TextEncoder();

/** A JSON file, damaged in its values, or sometimes in its bytes. */
export function damagedJson(random: Random, seeds: readonly unknown[]): Bytes {
  if (random.percent(25)) return damaged(random, seeds.map((seed) => utf8.encode(JSON.stringify(seed))));
  const bytes = utf8.encode(reshaped(random, random.pick(seeds)));
  return random.percent(10) ? damaged(random, [bytes]) : bytes;
}

/** A file with a JSON value on each line, damaged in some lines, in their order, or in its bytes. */
export function damagedLines(random: Random, values: readonly unknown[]): Bytes {
  const lines = values.map((value) => JSON.stringify(value));
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(lines.length);
    const way = random.below(6);
    if (way < 3) lines[at] = reshaped(random, values[at % values.length]);
    else if (way === 3) lines.splice(at, 1);
    else if (way === 4) lines.splice(at, 0, random.pick(lines) ?? "");
    else [lines[at], lines[0]] = [lines[0], lines[at]];
  }
  const bytes = utf8.encode(lines.join("\n") + (random.percent(80) ? "\n" : ""));
  return random.percent(20) ? damaged(random, [bytes]) : bytes;
}
