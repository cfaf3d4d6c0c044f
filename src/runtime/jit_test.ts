import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { key, split } from "../base/random.ts";
import type { DType } from "../trace/dtype.ts";
import {
  avgPool,
  concat,
  conv2d,
  full,
  iota,
  literal,
  maxPool,
  oneHot,
  resizeBilinear,
  scatterAdd,
  stack,
  where,
} from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import * as random from "../trace/random.ts";
import type { Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { treePaths } from "../trace/tree.ts";
import { type Device, type DeviceArray, disposeTree } from "./arrays.ts";
import { open } from "./devices.ts";
import { jit } from "./jit.ts";

Deno.test("jit() names op, shapes and the user's line for operands that do not fit", async () => {
  await using device = await open("reference");
  using x = device.array([1, 2]);
  using y = device.array([1, 2, 3]);
  const error = assertThrows(() => jit((x: Tensor, y: Tensor) => x.add(y), { device })(x, y), LocalgradError);
  for (const part of ["add(f32[2], f32[3])", "jit_test.ts:"]) {
    assert(error.message.includes(part), error.message);
  }
});

Deno.test("jit() donates: the result takes over the array's memory, and the array is gone", async () => {
  await using device = await open("reference");
  const step = jit((p: { w: Tensor }, g: Tensor) => ({ p: { w: p.w.sub(g) } }), { device, donate: [0] });
  const params: { w: DeviceArray } = { w: device.array([5, 6]) };
  using g = device.array([1, 1]);
  const { buffer } = params.w;
  const next = step(params, g);
  assert(next.p.w.buffer === buffer);
  assertThrows(() => params.w.buffer, LocalgradError, "donated");
  assertEquals([...await next.p.w.read()], [4, 5]);
  assertThrows(() => step(next.p, next.p.w), LocalgradError, "one array");
});

Deno.test("checkNumerics names the first op whose result is not finite, and the user's line", async () => {
  await using device = await open("reference");
  using x = device.array([1, 0]);
  const f = jit((x: Tensor) => x.mul(2).log().mul(0).add(1), { device, checkNumerics: true });
  using y = f(x);
  const error = await y.read().then(() => undefined, (error) => error);
  assert(error instanceof LocalgradError && error.message.includes("log(f32[2])"), String(error));
  assert(error.message.includes("jit_test.ts:"), error.message);
  using fine = device.array([1, 2]);
  using z = f(fine);
  assertEquals([...await z.read()], [1, 1]);
});

Deno.test("a thousand calls leave no array behind", async () => {
  const device: Device = await open("reference");
  const step = jit((w: Tensor, rate: Tensor) => ({ w: w.mul(rate) }), { device, donate: [0] });
  let state = { w: device.array([1]) };
  for (let i = 0; i < 1000; i++) state = step(state.w, 0.999);
  assertAlmostEquals((await state.w.read())[0], Math.fround(0.999) ** 1000, 1e-6);
  assertEquals(device.liveArrays, 1);
  state.w.dispose();
  await device.close();
  assertEquals(device.backend.liveBuffers, 0);
});

Deno.test("jit() traces once for each combination of shapes", async () => {
  await using device = await open("reference");
  let traced = 0;
  const double = jit((x: Tensor) => (traced++, x.mul(2)), { device });
  for (const data of [[1, 2], [3, 4], [5, 6, 7], [8]]) {
    using x = device.array(data);
    using y = double(x);
    assertEquals([...await y.read()], data.map((v) => 2 * v));
  }
  assertEquals(traced, 3);
});

Deno.test("jit() takes numbers and typed arrays, uploads them for each call, and returns trees", async () => {
  await using device = await open("reference");
  const f = jit((a: { k: Tensor; n: Tensor[] }) => ({ sum: a.k.add(a.n[0]), n: a.n }), { device });
  for (const value of [1, 2]) {
    const { sum, n } = f({ k: Float32Array.of(10, 20), n: [value] });
    assertEquals([...await sum.read()], [10 + value, 20 + value]);
    assertEquals([...await n[0].read()], [value]); // a returned input is a copy
    [sum, ...n].forEach((array) => array.dispose());
  }
  assertEquals(device.liveArrays, 0);
});

Deno.test("jit() inside jit becomes part of the outer program", async () => {
  await using device = await open("reference");
  const inner = jit((x: Tensor) => x.add(1), { device });
  const outer = jit((x: Tensor) => inner(x).mul(inner(x)), { device });
  using y = outer(2);
  assertEquals([...await y.read()], [9]);
});

Deno.test("jit() refuses invalid calls, and names the argument or result", async () => {
  await using device = await open("reference");
  await using other = await open("reference");
  using x = device.array([1]);
  using far = other.array([1]);
  const add = jit((x: Tensor, y: Tensor) => x.add(y), { device, name: "add" });
  assertThrows(() => add(x, far), LocalgradError, "argument 1 is on another device");
  assertThrows(() => add(x, "2" as never), LocalgradError, "argument 1 is string");
  assertThrows(() => jit((x: Tensor) => x)(1), LocalgradError, "pass { device }");
  assertThrows(
    () => jit(() => 3 as never, { device, name: "three" })(),
    LocalgradError,
    "its result is not a tensor",
  );
  let leaked: Tensor | undefined;
  jit((x: Tensor) => (leaked = x, x.neg()), { device })(x).dispose();
  assertThrows(
    () => jit((y: Tensor) => y.add(leaked!), { device })(x),
    LocalgradError,
    "another traced function",
  );
  assertThrows(() => full([2], 0), LocalgradError, "call it within jit");
  assertThrows(() => jit(null as never), LocalgradError, "takes a function of tensors, not null");
  assertThrows(
    () => jit((x: Tensor) => x, { device: "cpu" as never }),
    LocalgradError,
    '"cpu" is not a device',
  );
  assertThrows(
    () => jit((x: Tensor) => x.neg(), { device, name: "f", donate: [1] })(x),
    LocalgradError,
    "f: donate has 1, but its one argument has position 0",
  );
  const gone = device.array([1]);
  gone.dispose();
  assertThrows(() => add(x, gone), LocalgradError, "was disposed");
});

Deno.test("jit() plans without a device, and names the program after the function", async () => {
  const { referenceTarget } = await import("../backends/reference/target.ts");
  const twice = jit(function twice(x: Tensor) {
    return scope("inner", () => x.add(x));
  });
  const program = twice.program({ shape: [3], dtype: "f32" });
  assertEquals([program.name, program.instructions[0].scope], ["twice", "inner"]);
  assertEquals(twice.plan(referenceTarget, { shape: [3], dtype: "f32" }).memory.peakBytes, 24);
});

Deno.test("closing a device frees arrays, programs and staging; later use is refused", async () => {
  const device = await open("reference");
  const x = device.array([1]);
  jit((x: Tensor) => x.add(literal([1, 2, 3])), { device })(4);
  assert(device.backend.liveBuffers > 1);
  await device.close();
  await device.close();
  assertEquals([device.liveArrays, device.backend.liveBuffers], [0, 0]);
  assertThrows(() => device.array([1]), LocalgradError, "was closed");
  assertThrows(() => x.buffer, LocalgradError, "was freed when its device was closed");
});

Deno.test("HostArray refuses elements that do not fill its shape, or are of another dtype", () => {
  assertThrows(() => new HostArray(new Float32Array(3), [2, 2]), LocalgradError, "does not fill [2,2]");
  assertThrows(() => new HostArray(new Float32Array(4), [-2, -2]), LocalgradError, "[-2,-2] is not a shape");
  const ones = new Float32Array(4);
  // @ts-expect-error -- not the typed array of i32
  assertThrows(() => new HostArray(ones, [4], "i32"), LocalgradError, "Float32Array does not contain i32");
  assertThrows(
    () => new HostArray(new Float64Array(4) as never),
    LocalgradError,
    "Float64Array has no dtype here",
  );
});

Deno.test("shapes and geometry must be whole numbers", async () => {
  await using device = await open("reference");
  const image = device.array(new Float32Array(16), [1, 4, 4, 1]);
  const filter = device.array(new Float32Array(4), [1, 2, 2, 1]);
  const cases: [(x: Tensor, w: Tensor) => Tensor, string][] = [
    [(x) => x.reshape(-1, -1), "reshape: [-16,-1] is not a shape"],
    [() => full([2.5], 1), "constant: [2.5] is not a shape"],
    [(x) => x.sum().broadcastTo([-3]), "broadcast: [-3] is not a shape"],
    [(x) => x.slice([0, 0.5, 0, 0], [1, 4, 4, 1]), "0.5 to 4 by 1"],
    [(x) => x.pad([0, 0.5, 0, 0], [0, 0.5, 0, 0]), "padding must be whole numbers, 0 or more; use slice"],
    [(x, w) => conv2d(x, w, { strides: 0 }), "strides must be whole numbers, 1 or more, not 0 and 0"],
    [(x, w) => conv2d(x, w, { dilation: 0 }), "dilation must be whole numbers, 1 or more"],
    [(x, w) => conv2d(x, w, { padding: [[-1, 1], [0, 0]] }), "padding must be whole numbers, 0 or more"],
    [(x, w) => conv2d(x, w, { padding: 0.5 }), "padding must be whole numbers, 0 or more"],
    [(x) => maxPool(x, { window: 2, strides: 1.5 }), "strides must be whole numbers"],
    [
      (x) => maxPool(x, { window: [2] as never }),
      "maxPool: window must be a whole number, or two: [height, width]",
    ],
    [
      (x) => resizeBilinear(x, [2] as never),
      "resizeBilinear: size must be a whole number, or two: [height, width]",
    ],
    [(x, w) => conv2d(x, w, { padding: [1, 1] as never }), "whole number, or [[top, bottom], [left, right]]"],
    [(x) => avgPool(x, { window: 0 }), "window must be whole numbers"],
    [(x) => conv2d(x, x, { dilation: 2 }), "conv(f32[1,4,4,1], f32[1,4,4,1]): the kernel size exceeds"],
    [(x) => maxPool(x, { window: 5 }), "maxPool(f32[1,4,4,1]): the window exceeds the padded image"],
    [(x) => x.slice([0, 0, 0, 0], [1, 0, 4, 1]).max(1), "undefined over an axis of extent 0"],
    [(x) => maxPool(x.slice([0, 0, 0, 0], [1, 0, 4, 1]), { window: 3, padding: 2 }), "not one of 0 × 4"],
    [(x) => avgPool(x.slice([0, 0, 0, 0], [1, 4, 0, 1]), { window: 3, padding: 2 }), "not one of 4 × 0"],
    [(x) => resizeBilinear(x.slice([0, 0, 0, 0], [1, 0, 0, 1]), 2), "needs an image with pixels"],
    [(x) => resizeBilinear(x, 2.5), "height and width must be whole numbers, 1 or more, not 2.5 and 2.5"],
    [(x, w) => conv2d(x, w, { groups: 1.5 }), "groups must be a whole number, 1 or more, not 1.5"],
    [(x) => x.sum(0.5), "sum(f32[1,4,4,1]): [0.5] are not distinct axes"],
    [(x) => x.mean([1, 2.5]), "[1,2.5] are not distinct axes"],
    [(x) => x.max(4), "[4] are not distinct axes"],
    [(x) => x.argmax(0.5), "there is no axis 0.5"],
    [(x) => concat([x, x], 1.5), "there is no axis 1.5"],
    [(x) => stack([x, x], 0.5), "there is no axis 0.5"],
    [() => iota([2, 2], 0.5), "[2,2] has no axis 0.5"],
    [(x) => scatterAdd(x.reshape(4, 4), literal([0, 1, 2, 3], [4], "i32"), 1.5), "rows be"],
    [(x) => random.integers(x.sum().cast("u32"), [2], 2 ** 24 + 1), "from 1 to 16777216, not 16777217"],
    [(x) => random.integers(x.sum().cast("u32"), [2], 2.5), "from 1 to 16777216, not 2.5"],
  ];
  for (const [f, says] of cases) assertThrows(() => jit(f, { device })(image, filter), LocalgradError, says);
  assertThrows(() => device.zeros([2, -1]), LocalgradError, "zeros: [2,-1] is not a shape");
});

Deno.test("fractions and numbers out of range are refused in integer arithmetic", async () => {
  await using device = await open("reference");
  const whole = device.array([1, 2], [2], "i32");
  const least = "does not fit i32, whole numbers from -2147483648 to 2147483647";
  const cases: [(x: Tensor) => Tensor, string][] = [
    [(x) => x.add(0.5), `add(i32[2], 0.5): 0.5 ${least}; cast the tensor to f32 first`],
    [(x) => x.sub(1e-9), "sub(i32[2], 1e-9)"],
    [(x) => x.mul(0.5), "mul(i32[2], 0.5)"],
    [(x) => x.div(0.5), "div(i32[2], 0.5)"],
    [(x) => x.maximum(NaN), "max(i32[2], NaN)"],
    [(x) => x.lt(0.5), `lt(i32[2], 0.5): 0.5 ${least}`],
    [(x) => x.eq(3e9), `3000000000 ${least}`],
    [(x) => x.cast("u32").add(-1), "-1 does not fit u32, whole numbers from 0 to 4294967295"],
    [(x) => where(x.gt(0), x, 0.5), `0.5 ${least}`],
    [() => full([2], 0.5, "i32"), `0.5 ${least}; make it f32`],
    [() => full([2], 2, "bool"), "2 does not fit bool, whole numbers from 0 to 1"],
    [() => literal([1, 2.5], [2], "u32"), "2.5 does not fit u32"],
    [(x) => x.eq(1).cast("i32").mean(), "a mean of i32 has fractions; cast to f32 first"],
    [(x) => x.eq(1).mean(), "a mean of bool has fractions"],
  ];
  for (const [f, says] of cases) assertThrows(() => jit(f, { device })(whole), LocalgradError, says);
  const arrays: [readonly number[], DType, string][] = [
    [[0, 3e9], "i32", `element 1 of an array: 3000000000 ${least}`],
    [[0.5], "u32", "0.5 does not fit u32"],
    [[256], "u8", "256 does not fit u8, whole numbers from 0 to 255"],
    [[2], "bool", "2 does not fit bool"],
  ];
  for (const [values, dtype, says] of arrays) {
    assertThrows(() => device.array(values, [values.length], dtype), LocalgradError, says);
  }
  assertThrows(() => device.array(Uint32Array.of(2), [1], "bool"), LocalgradError, "2 does not fit bool");
  using mean = jit((x: Tensor) => x.eq(1).cast("f32").mean(), { device })(whole);
  assertEquals([...await mean.read()], [0.5]);
});

Deno.test("a run that fails frees its memory and leaves its arguments as they were", async () => {
  await using device = await open("reference");
  const { backend } = device;
  const f = jit((x: Tensor) => [x.add(1), x.sum(), x.mul(2)], { device, donate: [0] });
  const x = device.array([1, 2]);
  f(device.array([3, 4])).forEach((array) => array.dispose());
  const { liveBuffers } = backend;
  const allocate = backend.allocate.bind(backend);
  let left = 1;
  backend.allocate = (bytes, dtype) => {
    if (left-- === 0) throw new LocalgradError("no memory is left");
    return allocate(bytes, dtype);
  };
  assertThrows(() => f(x), LocalgradError, "no memory is left");
  backend.allocate = allocate;
  assertEquals(backend.liveBuffers, liveBuffers);
  const made = f(x);
  assertEquals([...await made[0].read()], [2, 3]);
  made.forEach((array) => array.dispose());
});

Deno.test("functions agree with NumPy", async () => {
  await using device = await open("reference");
  const f = jit((x: Tensor) => ({
    one: oneHot(x.cast("i32"), 3),
    stacked: stack([x, x.neg()], -1),
    joined: concat([x, iota([2]).cast("f32")]),
    reduced: x.reshape(-1, 1).sub(x).max(0),
    where: x.broadcastTo([2, 2]).argmax(),
  }), { device });
  using x = device.array([0, 2]);
  const result = f(x);
  const read = async (array: DeviceArray) => [array.shape, [...await array.read()]];
  assertEquals(await read(result.one), [[2, 3], [1, 0, 0, 0, 0, 1]]);
  assertEquals(await read(result.stacked), [[2, 2], [0, -0, 2, -2]]);
  assertEquals(await read(result.joined), [[4], [0, 2, 0, 1]]);
  assertEquals(await read(result.reduced), [[2], [2, 0]]);
  assertEquals(await read(result.where), [[2], [1, 1]]);
  Object.values(result).forEach((array) => array.dispose());
});

Deno.test("jit() distinguishes trees whose paths look alike", async () => {
  await using device = await open("reference");
  const f = jit((tree: Record<string, Tensor | Record<string, Tensor>>) => tree, { device });
  const value = new HostArray(Float32Array.of(1));
  for (const tree of [{ "a.b": value }, { a: { b: value } }, { a: { "b": value }, c: value }]) {
    const result = f(tree as never);
    assertEquals(treePaths(result as never), treePaths(tree as never));
    assertEquals(Object.keys(result), Object.keys(tree));
    disposeTree(result as never);
  }
});

Deno.test("random.split() returns the same keys as split() on the host", async () => {
  await using device = await open("reference");
  const f = jit((k: Tensor) => random.split(k, 3), { device });
  const made = f(key(7));
  for (const [i, expected] of split(key(7), 3).entries()) {
    assertEquals([...await made[i].read()], [...expected]);
  }
  made.forEach((array) => array.dispose());
});

Deno.test("jit() keeps the programs used last, and frees no array with an evicted one", async () => {
  await using device = await open("cpu", { threads: 1 });
  let traced = 0;
  const add = jit((x: Tensor, y: Tensor) => (traced++, x.add(literal([1])).add(y)), {
    device,
    maxPrograms: 3,
  });
  const call = (n: number) => add(new Float32Array(n).fill(n), 0);
  const kept: DeviceArray[] = [];
  for (const n of [1, 2, 3, 1, 4, 1, 3, 4]) kept.push(call(n)); // 4 evicts 2
  assertEquals(traced, 4);
  const { liveBuffers } = device.backend;
  for (let i = 0; i < 20; i++) call(5 + i % 5).dispose(); // each is evicted before it recurs
  assertEquals(traced, 24);
  assertEquals(device.backend.liveBuffers, liveBuffers); // constants and uploads of three programs
  for (const array of kept) {
    const n = array.size;
    assertEquals([...await array.read()], new Array(n).fill(n + 1));
    array.dispose();
  }
  assertThrows(() => jit((x: Tensor) => x, { maxPrograms: 0, name: "f" }), LocalgradError, "f: maxPrograms");
});

Deno.test("jit() keeps 64 programs by default, and never evicts those of a training loop", async () => {
  await using device = await open("reference");
  let traced = 0;
  const double = jit((x: Tensor) => (traced++, x.mul(2)), { device });
  for (let i = 0; i < 100; i++) {
    double(new Float32Array(1 + i)).dispose(); // shapes that do not recur
    for (const n of [200, 300]) double(new Float32Array(n)).dispose(); // a full batch, and the last one
  }
  assertEquals(traced, 102);
  assertEquals(device.backend.liveBuffers, 64); // one upload each
});

Deno.test("disposed functions leave nothing registered with their device", async () => {
  await using device = await open("reference");
  const { onClose } = device;
  let registered = 0;
  device.onClose = (release) => {
    registered++;
    const forget = onClose.call(device, release);
    return () => (registered--, forget());
  };
  for (let i = 0; i < 10; i++) {
    const f = jit((x: Tensor) => x.neg(), { device });
    for (let again = 0; again < 2; again++) {
      f(1).dispose();
      assertEquals(registered, 1);
      f.dispose();
      f.dispose();
      assertEquals(registered, 0);
    }
  }
  assertEquals(device.backend.liveBuffers, 0);
});

Deno.test("closed devices, and disposed or donated arrays, are refused by name everywhere", async () => {
  const device = await open("cpu", { threads: 1 });
  const f = jit((x: Tensor, y: Tensor) => x.add(y), { device, donate: [0] });
  const [x, y] = [device.array([1]), device.array([2])];
  using sum = f(x, y);
  y.dispose();
  const { liveBuffers } = device.backend;
  assertThrows(() => f(x, 1), LocalgradError, "this array f32[1] was donated to a traced function");
  assertThrows(() => f(sum, y), LocalgradError, "this array f32[1] was disposed");
  await assertRejects(() => x.read(), LocalgradError, "was donated");
  await assertRejects(() => y.toHost(), LocalgradError, "was disposed");
  f(3, sum).dispose(); // a refused call donates nothing
  assert(device.backend.liveBuffers <= liveBuffers + 1);
  await device.close();
  await assertRejects(() => sum.read(), LocalgradError, "was freed when its device was closed");
  for (const use of [() => f(1, 2), () => f(sum, 1), () => device.zeros([1]), () => device.array(1)]) {
    assertThrows(use, LocalgradError, "this cpu device was closed");
  }
  assertThrows(() => jit((x: Tensor) => x)(sum), LocalgradError, "this cpu device was closed");
  await assertRejects(() => device.finish(), LocalgradError, "was closed");
  f.dispose();
  sum.dispose();
});

Deno.test("read() of a checked result returns its value at the time of the call", async () => {
  await using device = await open("reference");
  const next = jit((x: Tensor) => x.add(1), { device, donate: [0], checkNumerics: true });
  let x = next(device.array([0]));
  const reads = [x.read()];
  for (let i = 0; i < 3; i++) reads.push((x = next(x)).read());
  x.dispose();
  assertEquals((await Promise.all(reads)).map(([value]) => value), [1, 2, 3, 4]);
});
