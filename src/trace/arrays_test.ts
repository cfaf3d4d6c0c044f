import { assertEquals, assertThrows } from "@std/assert";
import { open } from "../devices.ts";
import { LocalgradError } from "../errors.ts";
import { HostArray } from "./arrays.ts";

Deno.test("put() of a tree that does not fit leaves nothing behind", async () => {
  await using device = await open("reference");
  const { backend } = device;
  const tree = {
    a: new HostArray(Float32Array.of(1)),
    b: [1, 2].map((n) => new HostArray(new Float32Array(n))),
  };
  const allocate = backend.allocate.bind(backend);
  for (const room of [0, 1, 2]) {
    let left = room;
    backend.allocate = (bytes, dtype) => {
      if (left-- === 0) throw new LocalgradError("out of memory");
      return allocate(bytes, dtype);
    };
    assertThrows(() => device.put(tree), LocalgradError, "out of memory");
    assertEquals([device.liveArrays, backend.liveBuffers], [0, 0]);
  }
  backend.allocate = allocate;
  device.put(tree);
  assertEquals([device.liveArrays, backend.liveBuffers], [3, 3]);
});
