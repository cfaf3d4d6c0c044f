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
  /^local\.(equipModule|lastModule|moduleOf|trainModule|trainStep|withStem|withoutLast|methodsByName)$/,
  /^models\.modelsByName$/,
  /^devices\.(open|probe)$/, // below
  /^data\.(cifar10|stl10|svhn|imageFolder|shapes)$/, // would look for files, or draw thousands of images
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
    [/fit must be an object with epochs, .*, not null/, () => t.fit(data, null!)],
    [/fit: epochs must be a number, not undefined/, () => t.fit(data, {} as Any)],
    [/fit: epochs must be a number, not "3"/, () => t.fit(data, { epochs: "3" } as Any)],
    [/fit has no option "epoch"; did you mean "epochs"?/, () => t.fit(data, { epochs: 1, epoch: 2 } as Any)],
    [/fit: observers must be a list/, () => t.fit(data, { epochs: 1, observers: {} } as Any)],
    [
      /fit: an observer must be an object, not null/,
      () => t.fit(data, { epochs: 1, observers: [null] } as Any),
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
    [/step has no option "rate"/, () => t.step({ x, labels }, { rate: 1 } as Any)],
    [/evaluate: the data set must be/, () => t.evaluate(undefined!)],
    [/restore: the snapshot must be/, () => t.restore(null!)],
    [/restore: the step must be a whole number/, () => t.restore({ ...before, step: -1 })],
    [/restore: the tensors must be a Map/, () => t.restore({ ...before, tensors: {} } as Any)],
    [/load: the values must be/, () => t.load(null!)],
    [/trainer: the device must be of devices\.open/, () => make({ device: {} as Any })],
    [/trainer has no option "epochs"/, () => make({ device, epochs: 3 } as Any)],
    [/setup: the method: name must be a string/, () => make({ device, method: {} as Any })],
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
