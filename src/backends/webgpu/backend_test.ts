import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { skips } from "../../../tests/gate.ts";
import type { Kernel } from "../../compile/kernel.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Aval } from "../../trace/dtype.ts";
import { ReferenceBackend } from "../reference/backend.ts";
import { openWebgpu, WebGpuBackend } from "./backend.ts";
import { Gpu } from "./gpu.ts";
import { planOf, runFused, runOp, sample } from "../../../tests/webgpu_adapter.ts";

const ignore = await skips("webgpu", openWebgpu);

const f32 = (...shape: number[]): Aval => ({ shape, dtype: "f32" });

/** Registers a test of the backend, which must leave no buffer behind. */
function test(name: string, body: (backend: WebGpuBackend, device: GPUDevice) => Promise<void>): void {
  Deno.test(name, { ignore }, async () => {
    const adapter = await navigator.gpu.requestAdapter();
    const gpu = await Gpu.open(adapter!);
    const backend = new WebGpuBackend(gpu);
    try {
      await body(backend, gpu.device);
    } finally {
      await backend.close();
    }
    assertEquals([backend.liveBuffers, backend.liveBytes], [0, 0]);
  });
}

/** y = scale·x + shift, with a map of one load. */
function affine(size: number, scale: number, shift: number, output: number): Kernel {
  return {
    space: [size],
    inputs: [0],
    nodes: [
      { kind: "load", input: 0, view: { offset: 0, strides: [1] }, dtype: "f32" },
      { kind: "constant", value: scale, dtype: "f32" },
      { kind: "binary", fn: "mul", args: [0, 1], dtype: "f32" },
      { kind: "constant", value: shift, dtype: "f32" },
      { kind: "binary", fn: "add", args: [2, 3], dtype: "f32" },
    ],
    stores: [{ node: 4, output }],
  };
}

const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

test("allocate() returns zeroed memory, and write() and read() move any number of bytes", async (backend) => {
  for (const size of [0, 1, 2, 3, 4, 5, 127, 1026]) {
    const buffer = backend.allocate(size, "u8");
    assertEquals(await backend.read(buffer, size), new Uint8Array(size));
    const data = Uint8Array.from({ length: size }, (_, i) => i * 7 + 1);
    backend.write(buffer, data);
    const written = data.slice();
    data.fill(0); // the source may be changed at once
    assertEquals(await backend.read(buffer, size), written);
    backend.free(buffer);
  }
});

test("read() returns the contents at the time of the call, whatever happens afterwards", async (backend) => {
  const x = backend.allocate(4, "f32"), y = backend.allocate(4, "f32");
  const executable = backend.compile(
    planOf(
      { kind: "kernel", kernel: affine(1, 2, 0, 1), scope: "" },
      [f32(1)],
      [f32(1)],
      backend.target.workspace,
    ),
  );
  backend.write(x, floats(1));
  const reads = [backend.read(x, 4)];
  backend.write(x, floats(2));
  reads.push(backend.read(x, 4), backend.read(y, 4));
  executable.run([x], [y]);
  reads.push(backend.read(y, 4));
  backend.write(x, floats(3));
  executable.run([x], [y]);
  reads.push(backend.read(y, 4));
  backend.free(x);
  backend.free(y);
  const values = (await Promise.all(reads)).map((bytes) => new Float32Array(bytes.buffer)[0]);
  assertEquals(values, [1, 2, 0, 4, 6]);
  executable.dispose();
});

test("read() batches concurrent reads into one staging buffer", async (backend) => {
  const buffers = Array.from({ length: 16 }, () => backend.allocate(64, "f32"));
  buffers.forEach((buffer, i) => backend.write(buffer, floats(i)));
  const reads = buffers.map((buffer) => backend.read(buffer, 4));
  await Promise.resolve(); // the batch is submitted
  assertEquals(backend.liveBuffers, 17);
  assertEquals((await Promise.all(reads)).map((bytes) => new Float32Array(bytes.buffer)[0]), [
    ...buffers.keys(),
  ]);
  assertEquals(backend.liveBuffers, 16);
  buffers.forEach((buffer) => backend.free(buffer));
});

test("free() refuses a buffer that is already free or belongs to another device", async (backend) => {
  const buffer = backend.allocate(8, "f32");
  backend.free(buffer);
  assertThrows(() => backend.free(buffer), Error, "twice");
  const foreign = new ReferenceBackend().allocate(8, "f32");
  assertThrows(() => backend.write(foreign, floats(1)), LocalgradError, "another device");
  await assertRejects(() => backend.read(foreign, 4), LocalgradError, "another device");
});

test(
  "allocate() refuses more than a buffer of the adapter can have, and states both sizes",
  (backend, device) => {
    const bytes = device.limits.maxBufferSize + 4;
    const error = assertThrows(() => backend.allocate(bytes, "f32"), LocalgradError);
    assert(
      error.message.includes(String(bytes)) && error.message.includes(String(device.limits.maxBufferSize)),
    );
    return Promise.resolve();
  },
);

test("run() binds the buffers of each call, not those of an earlier one", async (backend) => {
  const executable = backend.compile(
    planOf(
      { kind: "kernel", kernel: affine(1, 10, 0, 1), scope: "" },
      [f32(1)],
      [f32(1)],
      backend.target.workspace,
    ),
  );
  const buffers = [1, 2, 3].map((value) => {
    const buffer = backend.allocate(4, "f32");
    backend.write(buffer, floats(value));
    return buffer;
  });
  const [a, b, c] = buffers;
  executable.run([a], [b]); // b = 10
  executable.run([b], [c]); // c = 100
  executable.run([c], [a]); // a = 1000
  executable.run([a], [b]); // b = 10,000
  const values = await Promise.all(buffers.map((buffer) => backend.read(buffer, 4)));
  assertEquals(values.map((bytes) => new Float32Array(bytes.buffer)[0]), [1000, 10_000, 100]);
  buffers.forEach((buffer) => backend.free(buffer));
  executable.dispose();
});

test("run() works in place if a result takes over its input's memory", async (backend) => {
  const kernel = affine(9, 3, 1, 1);
  const data = sample(f32(9), 1) as Float32Array;
  const [result] = await runFused(backend, kernel, [f32(9)], [f32(9)], [data], [0]);
  assertEquals([...result], [...data].map((x) => Math.fround(Math.fround(x * 3) + 1)));
});

test("run() refuses an array that is donated and passed a second time", (backend) => {
  const kernel: Kernel = {
    space: [4],
    inputs: [0, 1],
    nodes: [
      { kind: "load", input: 0, view: { offset: 0, strides: [1] }, dtype: "f32" },
      { kind: "load", input: 1, view: { offset: 3, strides: [-1] }, dtype: "f32" },
      { kind: "binary", fn: "add", args: [0, 1], dtype: "f32" },
    ],
    stores: [{ node: 2, output: 2 }],
  };
  const step = { kind: "kernel", kernel, scope: "" } as const;
  const executable = backend.compile(planOf(step, [f32(4), f32(4)], [f32(4)], backend.target.workspace, [0]));
  const x = backend.allocate(16, "f32");
  assertThrows(() => executable.run([x, x], [undefined]), LocalgradError, "donated");
  backend.free(x);
  executable.dispose();
  return Promise.resolve();
});

test("run() reaches elements beyond 65,535 workgroups", async (backend) => {
  const size = 65_536 * 64 + 3; // not a multiple of 4: one invocation each
  const [result] = await runFused(backend, affine(size, 2, 1, 1), [f32(size)], [f32(size)], [
    Float32Array.from({ length: size }, (_, i) => i % 1000),
  ]);
  assertEquals(result.findIndex((y, i) => y !== (i % 1000) * 2 + 1), -1);
});

test("earlier programs stay correct when compile() grows the shared arena", async (backend) => {
  const plan = (rows: number) =>
    planOf(
      { kind: "op", instruction: matmulOf() },
      [f32(4, rows), f32(rows, 4)],
      [f32(4, 4)],
      backend.target.workspace,
    );
  const matmulOf = () => ({
    op: "matmul" as const,
    attrs: { transposeA: false, transposeB: false },
    inputs: [0, 1] as const,
    output: 2,
    scope: "",
  });
  const ones = (size: number) => {
    const buffer = backend.allocate(size * 4, "f32");
    backend.write(buffer, new Uint8Array(new Float32Array(size).fill(1).buffer));
    return buffer;
  };
  const small = plan(1024), large = plan(16_384);
  assert(small.arenaBytes > 0 && large.arenaBytes > small.arenaBytes); // parts of the sum
  const [a, b, c, d, y] = [ones(4096), ones(4096), ones(65_536), ones(65_536), ones(16)];
  const first = backend.compile(small);
  first.run([a, b], [y]);
  const second = backend.compile(large);
  first.run([a, b], [y]);
  assertEquals(new Float32Array((await backend.read(y, 64)).buffer), new Float32Array(16).fill(1024));
  second.run([c, d], [y]);
  assertEquals(new Float32Array((await backend.read(y, 64)).buffer), new Float32Array(16).fill(16_384));
  [a, b, c, d, y].forEach((buffer) => backend.free(buffer));
  [first, second].forEach((executable) => executable.dispose());
});

Deno.test("run() finds values in every segment of the arena", { ignore }, async () => {
  const gpu = await Gpu.open((await navigator.gpu.requestAdapter())!);
  const limits = {
    maxBufferSize: 1024,
    maxStorageBufferBindingSize: 1024,
    maxStorageBuffersPerShaderStage: 8,
  };
  const backend = new WebGpuBackend(gpu, limits);
  assertEquals(backend.target.segmentBytes, 1024);
  // input → arena 0 → arena 1024 → arena 3072 → result, each 200 floats, doubling and adding 1.
  const values = Array.from({ length: 5 }, () => f32(200));
  const plan = planOf(
    { kind: "kernel", kernel: affine(200, 2, 1, 1), scope: "" },
    [f32(200)],
    [f32(200)],
    backend.target.workspace,
  );
  const executable = backend.compile({
    ...plan,
    values,
    outputs: [{ value: 4, name: "y" }],
    locations: [
      { kind: "input", index: 0 },
      ...[0, 1024, 3072].map((offset) => ({ kind: "arena", offset } as const)),
      { kind: "output", index: 0 },
    ],
    steps: [0, 1, 2, 3].map((i) => ({
      kind: "kernel",
      kernel: { ...affine(200, 2, 1, i + 1), inputs: [i] },
      scope: "",
    })),
    arenaBytes: 3072 + 800,
  });
  const x = backend.allocate(800, "f32"), y = backend.allocate(800, "f32");
  backend.write(x, floats(...Array.from({ length: 200 }, (_, i) => i)));
  executable.run([x], [y]);
  const result = new Float32Array((await backend.read(y, 800)).buffer);
  assertEquals([...result], Array.from({ length: 200 }, (_, i) => 16 * i + 15));
  await backend.close();
  assertEquals(backend.liveBuffers, 0);
});

test("run() has the same number of buffers after a thousand runs", async (backend) => {
  const executable = backend.compile(
    planOf(
      { kind: "kernel", kernel: affine(1, 1, 1, 1), scope: "" },
      [f32(1)],
      [f32(1)],
      backend.target.workspace,
      [0],
    ),
  );
  const x = backend.allocate(4, "f32");
  const before = [backend.liveBuffers, backend.liveBytes];
  for (let i = 0; i < 1000; i++) executable.run([x], [undefined]);
  assertEquals(new Float32Array((await backend.read(x, 4)).buffer)[0], 1000);
  assertEquals([backend.liveBuffers, backend.liveBytes], before);
  backend.free(x);
  executable.dispose();
});

test("a split product is the same every time", async (backend) => {
  const avals = [f32(6, 4096), f32(4096, 10)];
  const data = avals.map((aval, i) => sample(aval, i + 1));
  const runs = [];
  for (let i = 0; i < 3; i++) {
    runs.push(await runOp(backend, "matmul", { transposeA: false, transposeB: false }, avals, data));
  }
  assertEquals(runs[1], runs[0]);
  assertEquals(runs[2], runs[0]);
});
