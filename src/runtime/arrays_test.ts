import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { HostArray } from "../trace/host_array.ts";
import { open } from "./devices.ts";

Deno.test("put() of a tree that does not fit in memory allocates nothing", async () => {
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

Deno.test("write() overwrites an array, allocates nothing, and refuses another shape or dtype", async () => {
  await using device = await open("cpu", { threads: 1 });
  using x = device.array([1, 2, 3]);
  using bytes = device.array(Uint8Array.of(1, 2, 3)); // padded to a word
  const before = x.read();
  const { liveBytes } = device.backend;
  x.write(new HostArray(Float32Array.of(4, 5, 6)));
  bytes.write(new HostArray(Uint8Array.of(7, 8, 9)));
  assertEquals([...await before, ...await x.read(), ...await bytes.read()], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assertEquals(device.backend.liveBytes, liveBytes);
  assertThrows(() => x.write(new HostArray(new Float32Array(2))), LocalgradError, "f32[2] is not f32[3]");
  assertThrows(() => x.write(new HostArray(new Int32Array(3))), LocalgradError, "i32[3] is not f32[3]");
  x.dispose();
  assertThrows(() => x.write(new HostArray(new Float32Array(3))), LocalgradError, "was disposed");
});

Deno.test("read() reports a lack of memory on the host", async () => {
  await using device = await open("reference");
  using x = device.array([1, 2]);
  const read = device.backend.read;
  for (
    const refuse of [
      () => {
        throw new RangeError("Array buffer allocation failed");
      },
      () => Promise.reject(new RangeError("Array buffer allocation failed")),
    ]
  ) {
    device.backend.read = refuse;
    await assertRejects(() => x.read(), LocalgradError, "no memory for f32[2], 8 bytes");
  }
  device.backend.read = read;
  assertEquals([...await x.read()], [1, 2]);
});

Deno.test("values that cannot become an array are refused by a LocalgradError", async () => {
  await using device = await open("reference");
  using x = device.array([1, 2]);
  const refused: readonly (readonly [() => unknown, string])[] = [
    [() => device.array([[1, 2], [3, 4]] as never), "pass a flat list and the shape"],
    [() => device.array("12" as never), "a flat list of numbers"],
    [() => device.array(null as never), "a flat list of numbers"],
    [
      () => device.array([1], [1], "f64" as never),
      '"f64" is not a dtype; choose f32, bf16, i32, u32, bool, u8',
    ],
    [() => device.zeros([1], "f64" as never), '"f64" is not a dtype'],
    [() => device.zeros(undefined as never), "undefined is not a shape"],
    [() => device.zeros(3 as never), "3 is not a shape; pass a list"],
    [() => device.put({ a: 1 } as never), "not 1; make one"],
    [() => device.put(null as never), "not null"],
    [() => device.put({ a: x } as never), "not a DeviceArray"],
    [() => x.write(new Float32Array(2) as never), "not a Float32Array"],
  ];
  for (const [f, says] of refused) assertThrows(f, LocalgradError, says);
  assertEquals(device.liveArrays, 1);
});

Deno.test("read(dtype) has the typed array of the dtype as its type, and refuses another dtype", async () => {
  await using device = await open("reference");
  using x = device.array([1, 2, 3], [3]);
  const floats: Float32Array = await x.read("f32");
  assertEquals(floats.map((value) => 2 * value), Float32Array.of(2, 4, 6));
  using n = device.array([4, 5], [2], "i32");
  const { data, shape }: { data: Int32Array; shape: readonly number[] } = await n.toHost("i32");
  assertEquals([data, shape], [Int32Array.of(4, 5), [2]]);
  await assertRejects(
    () => n.read("f32"),
    LocalgradError,
    "read: this array is i32[2], not f32; read it as i32",
  );
  // @ts-expect-error -- not a dtype
  await assertRejects(() => n.toHost("float32"), LocalgradError, '"float32" is not a dtype; choose f32');
});
