import { assertEquals, assertRejects } from "@std/assert";
import { gzipSync } from "node:zlib";
import { LocalgradError } from "../base/errors.ts";
import { gunzip } from "./gzip.ts";

const text = (value: string) => new TextEncoder().encode(value);
const joined = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
const [first, second] = [gzipSync(text("abc")), gzipSync(text("def"))];

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

async function read(bytes: Uint8Array, size: number, most = 1 << 20): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of gunzip(pieces(bytes, size), "a.gz", most)) parts.push(part);
  return new TextDecoder().decode(joined(...parts));
}

Deno.test("gunzip() reads all members, and passes over zeros behind them, as gzip and tar do", async () => {
  const cases: [Uint8Array, string][] = [
    [first, "abc"],
    [joined(first, second), "abcdef"],
    [joined(gzipSync(text("")), second), "def"],
    [joined(first, new Uint8Array(1000)), "abc"],
    [joined(first, second, new Uint8Array(5)), "abcdef"],
  ];
  for (const [bytes, expected] of cases) {
    for (const size of [1, 7, 4096]) assertEquals(await read(bytes, size), expected);
  }
});

Deno.test("gunzip() refuses what is cut short, damaged or followed by something else", async () => {
  const damaged = joined(first, second);
  damaged[damaged.length - 6] ^= 1; // the checksum of the second member
  const cases = [
    first.subarray(0, 15),
    joined(first, second.subarray(0, 15)),
    damaged,
    joined(first, text("x")),
  ];
  for (const bytes of cases) {
    for (const size of [1, 4096]) {
      await assertRejects(() => read(bytes, size), LocalgradError, "a.gz is no whole gzip archive (");
    }
  }
});

Deno.test("gunzip() inflates no further than it may, over all members together", async () => {
  const zeros = gzipSync(new Uint8Array(100_000));
  assertEquals((await read(joined(zeros, zeros), 4096, 200_000)).length, 200_000);
  await assertRejects(
    () => read(joined(zeros, zeros), 4096, 199_999),
    LocalgradError,
    "a.gz inflates to more than the 199999 bytes that are published",
  );
});
