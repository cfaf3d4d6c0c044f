import { assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { openReference, ReferenceBackend } from "./backend.ts";

Deno.test("read() returns the elements that write() was given, in every dtype", async () => {
  const backend = new ReferenceBackend();
  const data = {
    f32: Float32Array.of(0.1, -Infinity, 3e38),
    i32: Int32Array.of(-1, 2 ** 31 - 1, -(2 ** 31)),
    u32: Uint32Array.of(0, 2 ** 32 - 1, 7),
    bool: Uint32Array.of(0, 1, 1),
    u8: Uint8Array.of(0, 255, 1, 128, 5, 0, 0, 0),
  };
  for (const [dtype, array] of Object.entries(data)) {
    const bytes = new Uint8Array(array.buffer);
    const buffer = backend.allocate(bytes.length, dtype as keyof typeof data);
    backend.write(buffer, bytes);
    assertEquals(await backend.read(buffer, bytes.length), bytes, dtype);
    assertEquals(await backend.read(buffer, 4), bytes.slice(0, 4), dtype);
  }
  await backend.close();
});

Deno.test("write() takes bytes from the middle of an array and keeps the rest of the buffer", async () => {
  const backend = new ReferenceBackend();
  const buffer = backend.allocate(12, "f32");
  backend.writeFloat64(buffer, [1, 2, 3]);
  const bytes = new Uint8Array(9);
  bytes.set(new Uint8Array(Float32Array.of(7, 8).buffer), 1);
  backend.write(buffer, bytes.subarray(1));
  assertEquals([...new Float32Array((await backend.read(buffer, 12)).buffer)], [7, 8, 3]);
  await backend.close();
});

Deno.test("readFloat64() returns the elements that writeFloat64() was given, and read() rounds them", async () => {
  const backend = new ReferenceBackend();
  const buffer = backend.allocate(8, "f32");
  backend.writeFloat64(buffer, [1 / 3, 1e-300]);
  assertEquals([...backend.readFloat64(buffer)], [1 / 3, 1e-300]);
  assertEquals([...new Float32Array((await backend.read(buffer, 8)).buffer)], [Math.fround(1 / 3), 0]);
  assertNotEquals(Math.fround(1 / 3), 1 / 3);
  await backend.close();
});

Deno.test("liveBuffers and liveBytes count allocations that are not freed, until close()", async () => {
  const opened = await openReference();
  if (!("backend" in opened)) throw new Error(opened.reason);
  const { backend } = opened;
  const [a, b] = [backend.allocate(40, "f32"), backend.allocate(8, "u8")];
  assertEquals([backend.liveBuffers, backend.liveBytes], [2, 48]);
  backend.free(a);
  assertEquals([backend.liveBuffers, backend.liveBytes], [1, 8]);
  assertThrows(() => backend.free(a), Error, "freed");
  await assertRejects(async () => await backend.read(a, 4), Error, "freed");
  await backend.close();
  assertEquals([backend.liveBuffers, backend.liveBytes], [0, 0]);
  assertThrows(() => backend.free(b), Error, "freed");
});
