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

Deno.test("gunzip() reads all members and ignores zeros after them, like gzip and tar", async () => {
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

Deno.test("gunzip() rejects input that is truncated, damaged or followed by other bytes", async () => {
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
      await assertRejects(() => read(bytes, size), LocalgradError, "a.gz is not a complete gzip file (");
    }
  }
});

Deno.test("gunzip() limits the decompressed bytes of all members together", async () => {
  const zeros = gzipSync(new Uint8Array(100_000));
  assertEquals((await read(joined(zeros, zeros), 4096, 200_000)).length, 200_000);
  await assertRejects(
    () => read(joined(zeros, zeros), 4096, 199_999),
    LocalgradError,
    "a.gz decompresses to more than the published 199999 bytes",
  );
});
