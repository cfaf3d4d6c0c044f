/** Every function of mod.ts, called with values of every wrong kind, throws a LocalgradError. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as localgrad from "../mod.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { open } from "../src/runtime/devices.ts";
import { jit } from "../src/runtime/jit.ts";
import { HostArray } from "../src/trace/host_array.ts";
import { Tensor } from "../src/trace/tensor.ts";
import { Trace, withTrace } from "../src/trace/trace.ts";
import { host, integers, noise } from "./run.ts";
import { tinyDataset } from "./tiny.ts";
import { make } from "./tiny_trainer.ts";

// deno-lint-ignore no-explicit-any -- arguments of every kind are the point
type Any = any;

const circular: { [name: string]: unknown } = {};
circular["self"] = circular;
const list: unknown[] = [];
list.push(list);

const WRONG: readonly unknown[] = [
  ...[undefined, null, NaN, -1, 1.5, Infinity, "x", "", true, {}, [], [null], circular, list],
  ...[
    () => 1,
    Symbol("s"),
    10n,
    new Date(0),
    new Map(),
    new Float64Array(2),
    new DataView(new ArrayBuffer(4)),
  ],
];

/** Arguments of every wrong kind, alone, together and after a plausible one. */
const CALLS: readonly (readonly unknown[])[] = [
  [],
  ...WRONG.flatMap((value) => [[value], [value, value], [value, value, value], [{}, value], [[], value]]),
];

/**
 * Exports that take only values made by the library, or that are called for every value: only the type checker guards
 * them.
 */
const UNGUARDED: readonly RegExp[] = [
  /^(Device|DeviceArray|Tensor|Trace|LocalgradError)$/,
  /^(bytesOf|formatAval|sizeOf|sameShape|stridesOf|requireShape|requireDtype|requireAval|hostArrays|treeUnflatten)\b/,
  /^print(Kernel|Plan|Program)$/,
  /^local\.(equipModule|jointly|lastModule|moduleOf|trainModule|trainStep|with(Contexts|Stem|outLast)|methodsByName)$/,
  /^models\.modelsByName$/,
  /^devices\.(open|probe)$/, // below
  /^data\.(cifar10|stl10|svhn|imageFolder|shapes|scenes)$/, // would look for files, or draw thousands of images
];

/** The foreign error that a call throws; undefined if there is none. */
async function fault(call: () => unknown): Promise<string | undefined> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof LocalgradError)) return String(error);
    assert(error.message.length > 8, error.message);
  }
  return undefined;
}

function* exported(of: object, prefix = ""): Generator<[string, (...args: Any) => unknown]> {
  for (const [name, value] of Object.entries<Any>(of as Any)) {
    const path = `${prefix}${name}`;
    if (UNGUARDED.some((pattern) => pattern.test(path))) continue;
    if (typeof value === "function") {
      const isClass = value.toString().startsWith("class");
      yield [path, isClass ? (...args: Any) => new value(...args) : value];
    } else if (prefix === "" && typeof value === "object") yield* exported(value, `${path}.`);
  }
}

Deno.test("every exported function refuses arguments of wrong kinds with a LocalgradError", async () => {
  const faults: string[] = [];
  let calls = 0;
  for (const [path, f] of exported(localgrad)) {
    for (const args of CALLS) {
      calls++;
      const found = await fault(() => f(...args));
      if (found === undefined) continue;
      faults.push(`${path}: ${found}`);
      break;
    }
  }
  assertEquals(faults, []);
  assert(calls > 10_000, `${calls}`);
});

Deno.test("every method of a tensor refuses arguments of wrong kinds with a LocalgradError", async () => {
  const faults = new Set<string>();
  const methods = Object.getOwnPropertyNames(Tensor.prototype).filter((name) => name !== "constructor");
  for (const name of methods) {
    if (typeof Object.getOwnPropertyDescriptor(Tensor.prototype, name)!.value !== "function") continue;
    for (const args of CALLS) {
      const found = await fault(() => {
        const trace = new Trace();
        withTrace(trace, () => {
          const x = new Tensor(trace, trace.builder.input({ shape: [2, 3], dtype: "f32" }, "x"));
          (x as Any)[name](...args);
        });
      });
      if (found !== undefined) faults.add(`${name}: ${found}`);
    }
  }
  assertEquals([...faults], []);
});

Deno.test("devices, arrays and traced functions refuse bad arguments", async () => {
  await using device = await open("cpu");
  for (const wrong of WRONG) {
    if (wrong !== undefined) {
      await assertRejects(() => open(wrong as Any), LocalgradError, "there is no device");
    }
    await assertRejects(() => localgrad.devices.probe(wrong as Any), LocalgradError, "there is no device");
    if (wrong !== undefined) {
      const name = await fault(() => open("cpu", wrong as Any).then((opened) => opened.close()));
      assertEquals(name, undefined);
    }
    for (const args of [[wrong], [[1, 2], wrong], [[1, 2], [2], wrong], [wrong, wrong, wrong]] as Any[]) {
      assertEquals(await fault(() => (device as Any).array(...args).dispose()), undefined);
      assertEquals(await fault(() => (device as Any).zeros(...args).dispose()), undefined);
      assertEquals(await fault(() => localgrad.disposeTree(device.put(args))), undefined);
    }
  }
  const twice = jit((x: { a: Tensor }) => localgrad.stopGradient(x?.a), { device });
  for (const wrong of WRONG) {
    assertEquals(await fault(() => twice(wrong as Any)), undefined);
    assertEquals(await fault(() => twice({ a: wrong } as Any)), undefined);
    assertEquals(await fault(() => twice.program(wrong as Any)), undefined);
    assertEquals(await fault(() => twice.plan(wrong as Any, { a: { shape: [2], dtype: "f32" } })), undefined);
  }
  assertThrows(() => twice(circular as Any), LocalgradError, "contains itself");
  assertThrows(() => jit((x: Tensor) => x, { devise: device } as Any), LocalgradError, 'no option "devise"');
  const sum = jit((x: Tensor, y?: Tensor, z?: Tensor) => z!.add(y!).add(x), { device, name: "sum" });
  const one = device.array([1]);
  assertThrows(() => sum(one), LocalgradError, "sum: takes 3 arguments, but got 1");
  assertThrows(() => sum.program(one, one), LocalgradError, "sum: takes 3 arguments, but got 2");
  one.dispose();
  const giving = (value: unknown) => jit(() => value as Any, { device, name: "f" });
  for (const wrong of WRONG) assertEquals(await fault(() => giving(wrong)()), undefined);
});

Deno.test("a trainer refuses bad arguments and stays unchanged", async () => {
  await using device = await open("cpu");
  using t = await make({ device });
  const data = tinyDataset(16, 4);
  const before = await t.snapshot();
  const x = noise("x", [3, 8, 8, 3]);
  const labels = integers([0, 1, 2]);
  const cases: [RegExp, () => unknown][] = [
    [/fit: the data set must be an object with .*name, .*, not null/, () => t.fit(null!, { epochs: 1 })],
    [
      /fit: the data set must be an object with .*, not a Promise; await it/,
      () => t.fit(Promise.resolve(data) as Any, { epochs: 1 }),
    ],
    [/fit: the data set: classes must be a list/, () => t.fit({ epochs: 1 } as Any, { epochs: 1 })],
    [/fit: the options must be an object with epochs, .*, not null/, () => t.fit(data, null!)],
    [
      /trainer: device must be an object, not a Promise; await it/,
      () => make({ device: open("cpu").then((opened) => void opened.close()) as Any }),
    ],
    [/fit: epochs must be a number, not undefined/, () => t.fit(data, {} as Any)],
    [/fit: epochs must be a number, not "3"/, () => t.fit(data, { epochs: "3" } as Any)],
    [/fit has no option "epoch"; did you mean "epochs"?/, () => t.fit(data, { epochs: 1, epoch: 2 } as Any)],
    [
      /fit: saveEvery has no option "step"; did you mean "steps"\?/,
      () => t.fit(data, { epochs: 1, saveEvery: { step: 5 } } as Any),
    ],
    [/fit: observers must be a list/, () => t.fit(data, { epochs: 1, observers: {} } as Any)],
    [
      /fit: an observer must be an object with start, .*, not null/,
      () => t.fit(data, { epochs: 1, observers: [null] } as Any),
    ],
    [
      /fit: an observer needs at least one of the methods start, step, epoch, save, samples, end/,
      () => t.fit(data, { epochs: 1, observers: [{ steps() {} }] } as Any),
    ],
    [
      /fit: an observer: step must be a function, not true/,
      () => t.fit(data, { epochs: 1, observers: [{ step: true }] } as Any),
    ],
    [
      /the train part of colours has no list of labels/,
      () => t.fit({ ...data, train: {} } as Any, { epochs: 1 }),
    ],
    [/fit: the data set: mean must be a list/, () => t.fit({ ...data, mean: 0.5 } as Any, { epochs: 1 })],
    [
      /fit: signal must be an AbortSignal, not an object; take the signal of an AbortController/,
      () => t.fit(data, { epochs: 1, signal: {} as Any }),
    ],
    [
      /fit: signal must be an AbortSignal, not an? AbortController/,
      () => t.fit(data, { epochs: 1, signal: new AbortController() as Any }),
    ],
    [
      /probe: signal must be an AbortSignal, not an object/,
      () => localgrad.local.probe(t, data, { signal: { aborted: true } as Any }),
    ],
    [/step: the batch must be an object with x, labels/, () => t.step(null!)],
    [/step: the batch: x must be an object, not undefined/, () => t.step({ labels } as Any)],
    [/step: the batch: labels must be given/, () => t.step({ x } as Any)],
    [/step: the batch has no option "y"/, () => t.step({ x, labels, y: x } as Any)],
    [
      /step: images are a HostArray or DeviceArray, not a Float32Array/,
      () => t.step({ x: x.data, labels } as Any),
    ],
    [/step: the labels must be a list/, () => t.step({ x, labels: 3 } as Any)],
    [/step: image 0 of the batch has label red/, () => t.step({ x, labels: ["red"] } as Any)],
    [/step: the labels are a plain list; pass Int32Array/, () => t.step({ x, labels: [0, 1, 2] } as Any)],
    [/step: 2 labels were given for the 3 images/, () => t.step({ x, labels: Int32Array.of(0, 1) })],
    [/step has no option "rate"/, () => t.step({ x, labels }, { rate: 1 } as Any)],
    [/evaluate: the data set must be/, () => t.evaluate(undefined!)],
    [/restore: the snapshot must be/, () => t.restore(null!)],
    [/restore: the step must be a whole number/, () => t.restore({ ...before, step: -1 })],
    [/restore: the tensors must be a Map/, () => t.restore({ ...before, tensors: {} } as Any)],
    [/load: the values must be/, () => t.load(null!)],
    [
      /load: the values must be read first: .*loadWeights\("a.safetensors"\)/,
      () => t.load("a.safetensors" as Any),
    ],
    [/load: this is a snapshot, which trainer.restore\(\) takes/, () => t.load(before as Any)],
    [/trainer: the device must be of devices\.open/, () => make({ device: {} as Any })],
    [/trainer has no option "epochs"/, () => make({ device, epochs: 3 } as Any)],
    [/setup: the method: name must be a string/, () => make({ device, method: {} as Any })],
    [
      /trainer: give an optimizer, such as optim\.sgd\(\)/,
      () => make({ device, optimizer: undefined } as Any),
    ],
    [/accumulate, the micro-batches of a batch of .* from 1 to/, () => make({ device, accumulate: 1e4 })],
    [/setup: the optimizer: name must be/, () => make({ device, optimizer: {} as Any })],
    [/a model: name must be a string/, () => make({ device, model: {} as Any })],
    [/trainer: schedule must be a function, not 0\.1/, () => make({ device, schedule: 0.1 as Any })],
  ];
  for (const [message, call] of cases) {
    const error = await assertRejects(async () => await call(), LocalgradError);
    assert(message.test(error.message), `${message}: ${error.message}`);
  }
  const calls = ["fit", "step", "evaluate", "restore", "load"] as const;
  for (const name of calls) {
    for (const args of CALLS) assertEquals(await fault(() => (t as Any)[name](...args)), undefined, name);
    for (const wrong of WRONG) {
      assertEquals(await fault(() => (t as Any)[name](data, wrong)), undefined, name);
      assertEquals(
        await fault(() => (t as Any)[name](before, wrong)),
        name === "load" ? undefined : undefined,
      );
      assertEquals(
        await fault(() => (t as Any)[name]({ x: wrong, labels: wrong, images: wrong })),
        undefined,
      );
      assertEquals(await fault(() => (t as Any)[name]({ x, labels: wrong })), undefined, name);
    }
  }
  assertEquals(t.stepsDone, 0);
  await t.step({ x: new HostArray(x.data, x.shape), labels });
  assertEquals(host([1], [1]).shape, [1]);
});

Deno.test("a maker that was not called is named, with its call", async () => {
  const { local, models, nn, optim } = localgrad;
  await using device = await open("cpu");
  const cases: [string, () => unknown][] = [
    ["the function dgl; call it: dgl()", () => make({ device, method: local.dgl as Any })],
    ["the function dgl; call it: dgl()", () => local.man(local.dgl as Any)],
    ["the function sgd; call it: sgd()", () => make({ device, optimizer: optim.sgd as Any })],
    ["the function resnet8; call it: resnet8()", () => make({ device, model: models.resnet8 as Any })],
    ["the function relu; call it: relu()", () => nn.sequential({ relu: nn.relu as Any })],
    ["the function open; call it: open()", () => make({ device: open as Any })],
    ["cosine makes a schedule; call it: cosine(…)", () => make({ device, schedule: optim.cosine as Any })],
    [
      "constant makes a schedule; call it: constant(…)",
      () => make({ device, schedule: optim.constant as Any }),
    ],
  ];
  for (const [message, call] of cases) await assertRejects(async () => await call(), LocalgradError, message);
});

Deno.test("array() names the element that is none, and says how to pass a nested list", async () => {
  await using device = await open("reference");
  const cases: [string, unknown][] = [
    ["element 0 is a list; pass a flat list and the shape: array(values.flat(Infinity), [2, 3])", [
      [1, 2, 3],
      [4, 5, 6],
    ]],
    ["array(values.flat(Infinity), [1, 2, 1])", [[[1], [2]]]],
    // deno-lint-ignore no-sparse-arrays -- the point
    ["element 1 is undefined; elements are numbers", [1, , 3]],
    ["element 2 is null; elements are numbers", [1, 2, null]],
    ['element 0 is "1"; elements are numbers', ["1"]],
    ["element 0 is true; pass 0 and 1, with the dtype bool", [true, false]],
    ["element 0 is 1n; elements are numbers", [1n]],
    ["an ArrayBuffer is not a list of elements; pass a view of it", new ArrayBuffer(8)],
    ["a HostArray is not a list of elements; use put() for it", host([1], [1])],
    ["a Float64Array has no dtype here", new Float64Array(2)],
  ];
  for (const [message, data] of cases) assertThrows(() => device.array(data as Any), LocalgradError, message);
  assertEquals(device.liveArrays, 0);
});

Deno.test("images in [0, 1] in place of bytes are refused, and images that are NCHW", async () => {
  await using device = await open("cpu");
  using t = await make({ device });
  const data = tinyDataset(4, 4);
  const images = Float32Array.from(data.train.images, (byte) => byte / 255);
  const given = (images: unknown) =>
    t.fit({ ...data, train: { ...data.train, images: images as Any } }, { epochs: 1 });
  await assertRejects(
    () => given(images),
    LocalgradError,
    "pixels as a Float32Array; they are bytes from 0 to 255",
  );
  await assertRejects(() => given(Uint8Array.from(images)), LocalgradError, "multiply them by 255 first");
  const labels = Int32Array.of(0, 1);
  const step = (shape: number[], data: Any = new Float32Array(2 * 8 * 8 * 3)) =>
    t.step({ x: new HostArray(data, shape), labels });
  await assertRejects(
    () => step([2, 3, 8, 8]),
    LocalgradError,
    "x is f32[2,3,8,8], which is NCHW; images are [2,8,8,3] (NHWC), normalised f32: use x.transpose(0, 2, 3, 1)",
  );
  await assertRejects(
    () => step([2, 8, 8, 3], new Uint8Array(2 * 8 * 8 * 3)),
    LocalgradError,
    "divide by the standard",
  );
  const layer = localgrad.nn.conv({ in: 3, out: 8 });
  const nchw = "looks like NCHW, but images are NHWC: use x.transpose(0, 2, 3, 1)";
  assertThrows(() => localgrad.nn.shapeAfter(layer, [3, 32, 32]), LocalgradError, nchw);
  const shard = jit((bytes: Tensor) =>
    localgrad.data.readImages([{ first: 0, bytes }], localgrad.iota([1]), { mean: [0], std: [1] }).x
  );
  const avals = { shape: [1, 2, 2, 1], dtype: "f32" } as const;
  assertThrows(
    () => shard.program(avals),
    LocalgradError,
    "a shard is f32[1,2,2,1]; shards are bytes from 0 to 255",
  );
});

Deno.test("too few arguments of a traced function are refused, in types and when it runs", async () => {
  await using device = await open("reference");
  using one = device.array([1]);
  const typed = jit((x: Tensor, y: Tensor) => x.add(y), { device, name: "typed" });
  // @ts-expect-error -- y is missing
  assertThrows(() => typed(one), LocalgradError, "typed: takes 2 arguments, but got 1: add takes tensors");
  const inferred = jit((x, y) => x.add(y), { device, name: "inferred" });
  // @ts-expect-error -- y is missing
  assertThrows(() => inferred(one), LocalgradError, "inferred: takes 2 arguments, but got 1");
  // @ts-expect-error -- there is no third argument
  inferred(one, one, one).dispose();
  const optional = jit((x: Tensor, y?: Tensor) => y === undefined ? x.neg() : x.add(y), { device });
  optional(one).dispose();
  optional(one, one).dispose();
  const donating = jit((x: Tensor) => x.neg(), { device, name: "donating", donate: [3] });
  const message = "donating: donate has 3, but its one argument has position 0";
  assertThrows(() => donating(one), LocalgradError, message);
  assertThrows(() => donating.program(one), LocalgradError, message);
});
