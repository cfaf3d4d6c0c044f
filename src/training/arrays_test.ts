import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { bits, recorder, stopBefore } from "../../tests/tiny_trainer.ts";
import { units } from "../../tests/fixtures/formula.ts";
import { readMetrics } from "../artifacts/metrics.ts";
import { LocalgradError } from "../base/errors.ts";
import { arrays } from "../data/arrays.ts";
import { stream, type StreamBatch } from "../data/stream.ts";
import {
  augLocal,
  dgl,
  endToEnd,
  greedy,
  man,
  manPlusPlus,
  type Method,
  trainer,
  type TrainerOptions,
} from "../local.ts";
import { mlp } from "../models.ts";
import { adamw, constant } from "../optim.ts";
import type { Device } from "../runtime/arrays.ts";
import { load } from "../predict.ts";
import { open } from "../runtime/devices.ts";
import { HostArray } from "../trace/host_array.ts";

/** Rows of three values with two labels: their sum, and the product of the first two. */
function rows(count: number, name: string) {
  const x = units(name, 3 * count);
  const at = (i: number) => [...x.subarray(3 * i, 3 * i + 3)];
  const labels = Float32Array.from({ length: 2 * count }, (_, j) => {
    const [a = 0, b = 0, c = 0] = at(j >> 1);
    return j % 2 === 0 ? a + b + c : a * b;
  });
  return { x: new HostArray(x, [count, 3]), labels: new HostArray(labels, [count, 2]) };
}

const sums = () => arrays({ name: "sums", ...rows(128, "train"), test: rows(40, "test") });
const make = (device: Device, method: Method = endToEnd(), options: Partial<TrainerOptions> = {}) =>
  trainer({
    device,
    model: mlp({ features: 3, hidden: [32, 32, 32], outputs: 2 }),
    modules: 3,
    method,
    optimizer: adamw(),
    schedule: constant(0.01),
    batch: 32,
    ...options,
  });

for (const method of [endToEnd(), greedy(), dgl(), man(dgl()), augLocal(), manPlusPlus(dgl())]) {
  Deno.test(`an MLP learns a regression by ${method.name}`, async () => {
    await using device = await open("cpu");
    using t = await make(device, method);
    const { observer, epochs, steps } = recorder();
    const { last, bestError } = await t.fit(sums(), { epochs: 40, observers: [observer], evaluateEvery: 20 });
    assert(last!.meanSquaredError! < 0.02, JSON.stringify(last));
    assert(last!.meanAbsoluteError! < 0.1);
    assertAlmostEquals(last!.loss, last!.meanSquaredError!, 1e-6); // the loss of a regression by default
    assertEquals(bestError, Math.min(...epochs.map(({ meanSquaredError }) => meanSquaredError!)));
    assertEquals([steps[0].accuracy, steps.length], [undefined, 160]);
    assertAlmostEquals(steps[0].meanSquaredError!, steps[0].losses.at(-1)!, 1e-5);
    const { x, labels } = rows(40, "test");
    const { data, shape } = await t.outputs(x);
    assertEquals(shape, [40, 2]);
    await assertRejects(
      () => t.outputs(new HostArray(new Float32Array(4), [2, 2])),
      LocalgradError,
      "outputs: mlp takes f32[vectors,3], not f32[2,2]",
    );
    await assertRejects(() => t.outputs([new Float32Array(2)]), LocalgradError, "outputs: a vector is");
    const own = data.reduce((sum, value, i) => sum + (value - labels.data[i]) ** 2, 0) / 80;
    assertAlmostEquals(own, last!.meanSquaredError!, 1e-5);
    assertThrows(
      () => t.predict(x),
      LocalgradError,
      "mlp is a regression, which has no classes to rank",
    );
  });
}

Deno.test("an MLP classifies vectors, and predicts them with the names of their classes", async () => {
  await using device = await open("cpu");
  const { x } = rows(64, "train");
  const labels = Uint8Array.from({ length: 64 }, (_, i) => x.data[3 * i] > 0 ? 1 : 0);
  const signs = arrays({ x, labels, classes: ["below", "above"], test: { x, labels } });
  using t = await make(device, dgl(), { model: mlp({ features: 3, hidden: [32, 32, 32], classes: 2 }) });
  const { last } = await t.fit(signs, { epochs: 40, observers: [], validation: 0.25 });
  assertEquals(last!.images, 16);
  const { error } = await t.evaluate(signs);
  assert(error < 0.1, `${error}`);
  const predicted = await t.predict(signs.test!);
  assertEquals(
    predicted.filter(({ best }, i) => best.name !== ["below", "above"][labels[i]]).length,
    Math.round(64 * error),
  );
});

Deno.test("a network of vectors is loaded from its run to predict, with the model and the names of its classes", () =>
  inFolder(async (folder) => {
    await using device = await open("cpu");
    const { x } = rows(40, "train");
    const labels = Int32Array.from({ length: 40 }, (_, i) => x.data[3 * i] > 0 ? 1 : 0);
    const classifier = mlp({ features: 3, hidden: [32, 32, 32], classes: 2 });
    const cases = [
      { model: classifier, set: arrays({ name: "signs", x, labels, classes: ["below", "above"] }) },
      { model: mlp({ features: 3, hidden: [32, 32, 32], outputs: 2 }), set: sums() },
    ];
    for (const { model, set } of cases) {
      const checkpoint = `${folder}/${set.name}`;
      using t = await make(device, dgl(), { model });
      await t.fit(set, { epochs: 1, observers: [], checkpoint });
      const onNote = (note: string) => assert(note.includes("has no best checkpoint"), note);
      await assertRejects(
        () => load(checkpoint, { device, onNote }),
        LocalgradError,
        "is of mlp, which is not a network that localgrad makes by its name; use it in a script, which can make the " +
          "network: pass that as model",
      );
      await using predictor = await load(checkpoint, { device, model, onNote });
      assertEquals(await predictor.outputs(x), await t.outputs(x));
      if (model !== classifier) continue;
      const predicted = await predictor.predict(x);
      assertEquals(predicted, await t.predict(x));
      assertEquals([...new Set(predicted[0].top.map(({ name }) => name))].sort(), ["above", "below"]);
    }
  }));

/** The training rows in batches of 32, the last of an epoch smaller, each epoch in another order. */
async function* batchesOf(epoch: number): AsyncGenerator<StreamBatch> {
  const { x, labels } = rows(84, `epoch ${epoch}`);
  for (let from = 0; from < 84; from += 32) {
    await Promise.resolve();
    const end = Math.min(84, from + 32);
    yield {
      x: new HostArray(x.data.slice(3 * from, 3 * end), [end - from, 3]),
      labels: labels.data.slice(2 * from, 2 * end) as Float32Array,
    };
  }
}

Deno.test("a stream trains as the same batches given one by one, bit for bit", async () => {
  await using device = await open("cpu");
  using streamed = await make(device, dgl());
  const { observer, steps } = recorder();
  const set = stream({ batches: batchesOf, stepsPerEpoch: 3, test: rows(40, "test") });
  const { last } = await streamed.fit(set, { epochs: 2, observers: [observer] });
  assertEquals(steps.map(({ images }) => images), [32, 32, 20, 32, 32, 20]);
  assertEquals(last!.images, 40);
  using given = await make(device, dgl());
  for (const epoch of [0, 1]) {
    for await (const { x, labels } of batchesOf(epoch)) {
      await given.step({ x: x as HostArray, labels: labels as Float32Array });
    }
  }
  assertEquals(bits(await streamed.snapshot()), bits(await given.snapshot()));
});

Deno.test("a run on arrays or a stream, stopped and resumed, ends as an uninterrupted one; the file names the error", () =>
  inFolder(async (folder) => {
    await using device = await open("cpu");
    const asked: number[] = [];
    const batches = (epoch: number) => (asked.push(epoch), batchesOf(epoch));
    const streamed = stream({ batches, stepsPerEpoch: 3, test: rows(40, "test") });
    for (const set of [sums(), streamed]) {
      const checkpoint = `${folder}/${set.name}`;
      const options = { epochs: 3, observers: [], checkpoint, resume: true };
      using whole = await make(device);
      await whole.fit(set, { epochs: 3, observers: [] });
      using first = await make(device);
      assertEquals((await first.fit(set, { ...options, signal: stopBefore(6) })).stopped, true);
      asked.length = 0;
      using second = await make(device);
      await second.fit(set, options);
      assertEquals(bits(await second.snapshot()), bits(await whole.snapshot()));
      const text = await Deno.readTextFile(`${checkpoint}/metrics.jsonl`);
      assertEquals([text.includes("testError"), text.includes("accuracy")], [false, false]);
      const lines = await readMetrics(`${checkpoint}/metrics.jsonl`);
      const line = lines.filter((line) => line.kind === "epoch").at(-1)!;
      assertEquals([line.testError, line.meanAbsoluteError! > 0], [line.meanSquaredError, true]);
      const report = await Deno.readTextFile(`${checkpoint}/report.html`);
      assert(report.includes("test mean squared error") && report.includes("Mean squared error"));
    }
    assertEquals(asked, [1, 2]); // the epoch it was stopped in, again
  }));

Deno.test("a stream that stalls is left at the signal, and closed; endless ones are not read beyond the run", async () => {
  await using device = await open("cpu");
  let yielded = 0, closed = 0;
  async function* endless() {
    try {
      for (; yielded < 7; yielded++) yield* [(await batchesOf(0).next()).value as StreamBatch];
      await new Promise(() => {});
    } finally {
      closed++;
    }
  }
  const before = device.liveArrays;
  using t = await make(device);
  const held = device.liveArrays;
  const { stopped } = await t.fit(stream({ batches: endless(), stepsPerEpoch: 2 }), {
    epochs: 2,
    observers: [],
  });
  assertEquals([stopped, t.stepsDone, yielded, closed, device.liveArrays - held], [false, 4, 3, 1, 0]);
  yielded = 6;
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 50);
  const stalled = stream({ batches: endless(), stepsPerEpoch: 9 });
  assertEquals((await t.fit(stalled, { epochs: 3, observers: [], signal: abort.signal })).stopped, true);
  assertEquals(device.liveArrays > before, true);
});

Deno.test("arrays and streams that do not suit are refused in one line", async () => {
  const { x, labels } = rows(4, "train");
  const wrong = (options: object, message: string) => {
    const error = assertThrows(() => arrays({ x, labels, ...options }), LocalgradError, message);
    assert(!error.message.includes("\n"));
  };
  wrong({ labels: new Float32Array(3) }, "has 4 inputs and 3 labels");
  wrong({ labels: Float32Array.of(1, NaN, 2, 3) }, "has NaN as label of input 1");
  wrong({ labels: [1, 2, 3, 4] }, "labels are integers, such as an Int32Array, or the f32 values");
  wrong(
    { labels: Int32Array.of(0, 1, 2, 1), classes: ["a", "b"] },
    "input 2 has class 2; 2 classes are 0 to 1",
  );
  wrong({ labels: Int32Array.of(0, 1) }, "has 4 inputs and 2 labels");
  wrong({ x: new Float32Array(13), shape: [3] }, "has 4.333333333333333 inputs");
  wrong({ x: new HostArray(new Float32Array(16), [4, 2, 2]) }, "are vectors [features] or images");
  wrong({ x: Float32Array.of(1, 2, 3, Infinity), labels: new Float32Array(4) }, "has Infinity in input 3");
  wrong(
    { x: new Uint8Array(12) },
    "x is a Float32Array or an f32 HostArray, not a Uint8Array; bytes are images",
  );
  wrong({ y: labels }, 'arrays has no option "y"');
  wrong({ test: { x: new Float32Array(3), labels: new Float32Array(0) } }, "test part");

  await using device = await open("reference");
  using t = await make(device);
  const fit = (set: Parameters<typeof t.fit>[0], message: string) =>
    assertRejects(() => t.fit(set, { epochs: 1, observers: [] }), LocalgradError, message);
  await fit(arrays({ x, labels: new Float32Array(4) }), "has 1 values as the label of an input; mlp gives 2");
  await fit(arrays({ x, labels: Int32Array.of(0, 1, 0, 1) }), "arrays has classes, but mlp is a regression");
  await fit(
    arrays({ x: new Float32Array(8), labels }),
    "mlp takes inputs of [3], but those of arrays are [2]",
  );
  const yields = (...batches: unknown[]) =>
    stream({ batches: () => ReadableStream.from(batches) as AsyncIterable<never>, stepsPerEpoch: 2 });
  const good = { x, labels };
  const second = "batch 2 of epoch 1 of stream";
  await fit(yields(good), `there is no ${second}: the stream ended after 1 batches`);
  await fit(yields(good, 3), `${second} is 3; it must be { x, labels }`);
  await fit(yields(good, { ...good, y: 1 }), `${second} has "y"`);
  await fit(
    yields(good, { x: new HostArray(x.data, [3, 4]), labels }),
    `${second} has x as f32[3,4]; mlp takes`,
  );
  await fit(yields(good, { x: new Uint8Array(12), labels }), `${second} has x in bytes`);
  await fit(
    yields(good, { x, labels: new Float32Array(4).fill(NaN) }),
    `${second} has NaN as label of input 0`,
  );
  await fit(yields(good, { x, labels: new Int32Array(4) }), `${second} has labels as an Int32Array`);
  await fit(
    yields(good, rows(33, "many")),
    `${second} has 33 inputs; the trainer was made for batches of 32`,
  );
  await assertRejects(
    () => t.fit(yields(good, good), { epochs: 1, validation: 0.1 }),
    LocalgradError,
    "which the stream stream does not have",
  );
  await t.fit(yields(good, good), { epochs: 1, observers: [] });
  t.restore(await t.snapshot());
  await fit(
    stream({ batches: batchesOf(0), stepsPerEpoch: 3 }),
    "one stream, which cannot be asked for step",
  );
  await assertRejects(
    () => t.fit(sums(), { epochs: 1, earlyStopping: { patience: 1, metric: "error" } }),
    LocalgradError,
    "must be one of meanSquaredError, meanAbsoluteError, loss",
  );
});
