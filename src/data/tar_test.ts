import { assertEquals, assertRejects } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { readTar } from "./tar.ts";

/** An archive of files of these sizes, each filled with its index. */
function tar(sizes: readonly number[]): Uint8Array<ArrayBuffer> {
  const parts: number[] = [];
  sizes.forEach((size, i) => {
    const header = new Uint8Array(512);
    const put = (text: string, at: number) => header.set(new TextEncoder().encode(text), at);
    put(`folder/${i}.bin`, 0);
    put(size.toString(8).padStart(11, "0"), 124);
    put("        0", 148);
    put("ustar\0" + "00", 257);
    put(header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0") + "\0", 148);
    parts.push(...header, ...new Uint8Array(Math.ceil(size / 512) * 512).fill(i, 0, size));
  });
  return Uint8Array.from([...parts, ...new Uint8Array(1024)]);
}

const stream = (bytes: Uint8Array<ArrayBuffer>) => new Blob([bytes]).stream();

Deno.test("readTar() skips files that are not wanted", async () => {
  const sizes = [3, 512, 70000, 0, 1];
  const got: [string, number][] = [];
  for await (const { path, bytes } of readTar(stream(tar(sizes)), "a.tar", (path) => !path.includes("2"))) {
    got.push([path, bytes.length]);
  }
  assertEquals(got, [["folder/0.bin", 3], ["folder/1.bin", 512], ["folder/3.bin", 0], ["folder/4.bin", 1]]);
});

Deno.test("readTar() rejects an archive that ends within an unwanted file", async () => {
  await assertRejects(
    async () => {
      for await (const _ of readTar(stream(tar([3, 70000]).slice(0, 60000)), "a.tar", () => false));
    },
    LocalgradError,
    "a.tar is truncated: it ends in the middle of a file",
  );
});

Deno.test("readTar() passes a file's size before reading it, and reads its input to the end", async () => {
  const seen: [string, number][] = [];
  let ended = false;
  async function* chunks() {
    yield tar([3, 70000]);
    yield new Uint8Array(9000);
    await Promise.resolve();
    ended = true;
  }
  const wanted = (path: string, size: number) => seen.push([path, size]) === 1;
  for await (const { bytes } of readTar(chunks(), "a.tar", wanted)) assertEquals([...bytes], [0, 0, 0]);
  assertEquals(seen, [["folder/0.bin", 3], ["folder/1.bin", 70000]]);
  assertEquals(ended, true);
});
