import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { integers, noise } from "../../tests/run.ts";
import { tinyDataset, tinyModel } from "../../tests/tiny.ts";
import { bits, make, recorder, stopBefore } from "../../tests/tiny_trainer.ts";
import { LocalgradError } from "../base/errors.ts";
import type { ImageDataset } from "../data/images.ts";
import { squaredErrorLoss } from "../local/loss.ts";
import { dgl } from "../local/methods/dgl.ts";
import { endToEnd } from "../local/methods/end_to_end.ts";
import { constant } from "../optim/schedules.ts";
import { open } from "../runtime/devices.ts";
import { probe } from "./probe/probe.ts";

Deno.test("fit() trains on a smaller last batch, but not on one of a single image", async () => {
  await using device = await open("reference");
  for (const [count, sizes] of [[33, [16, 16]], [34, [16, 16, 2]], [5, [5]]] as [number, number[]][]) {
    using t = await make({ device, method: endToEnd() });
    const { observer, steps } = recorder();
    await t.fit(tinyDataset(count, 3), { epochs: 1, observers: [observer] });
    assertEquals(steps.map(({ images }) => images), sizes);
    assert(steps.every(({ accuracy = NaN }) => accuracy >= 0 && accuracy <= 1));
  }
});

Deno.test("fit() evaluates every few epochs and after the last, and saves after each, also when resumed", async () => {
  await using device = await open("cpu");
  const data = tinyDataset(32, 10); // 2 steps per epoch
  const options = { device, method: dgl() };
  using always = await make(options);
  await always.fit(data, { epochs: 5, observers: [] });
  using whole = await make(options);
  const { observer, epochs, events } = recorder();
  const rarely = { epochs: 5, evaluateEvery: 2 };
  const { last, bestError } = await whole.fit(data, { ...rarely, observers: [observer] });
  assertEquals(epochs.map(({ epoch }) => epoch), [2, 4, 5]);
  assertEquals(events.filter((event) => event.startsWith("save")).length, 6);
  assertEquals(events.slice(0, 5), ["start", "save last", "save last", "epoch 2", "save best,last"]);
  assertEquals(last!.error, epochs[2].testError);
  assertEquals(bestError, Math.min(...epochs.map(({ testError }) => testError)));
  assertEquals(bits(await whole.snapshot()), bits(await always.snapshot()));
  const { observer: watching, saved } = recorder();
  using before = await make(options);
  const stopped = await before.fit(data, { ...rarely, observers: [watching], signal: stopBefore(6) });
  assertEquals(stopped.last!.error, epochs[0].testError);
  using after = await make(options);
  after.restore(saved());
  const rest = recorder();
  await after.fit(data, { ...rarely, observers: [rest.observer] });
  assertEquals(rest.epochs.map(({ epoch }) => epoch), [4, 5]);
  assertEquals(after.bestError, whole.bestError);
  assertEquals(bits(await after.snapshot()), bits(await whole.snapshot()));
});

Deno.test("fit() stops at a loss that is NaN or infinite, and names module and step", async () => {
  await using device = await open("reference");
  using t = await make({ device, schedule: constant(1e30) });
  const { observer, events } = recorder();
  const before = device.liveArrays;
  await assertRejects(
    () => t.fit(tinyDataset(64, 4), { epochs: 2, observers: [observer] }),
    LocalgradError,
    "lower the learning rate",
  );
  assertEquals(events.at(-1), "failed");
  assertEquals(device.liveArrays, before);
});

Deno.test("fit() keeps a run in a folder and resumes it", async () => {
  await using device = await open("cpu");
  const data = tinyDataset(40, 10);
  const folder = await Deno.makeTempDir();
  const checkpoint = `${folder}/run`;
  const quiet = { checkpoint, observers: [] };
  using whole = await make({ device });
  await whole.fit(data, { epochs: 3, observers: [] });
  using first = await make({ device });
  await first.fit(data, { epochs: 3, ...quiet, resume: true, signal: stopBefore(5) });
  using fresh = await make({ device });
  await assertRejects(() => fresh.fit(data, { epochs: 3, ...quiet }), LocalgradError, "holds a run");
  using other = await make({ device, batch: 8 });
  await assertRejects(
    () => other.fit(data, { epochs: 3, ...quiet, resume: true }),
    LocalgradError,
    "batch 16, not 8",
  );
  await assertRejects(() => other.fit(data, { epochs: 3, resume: true }), LocalgradError, "checkpoint");
  await assertRejects(
    () => fresh.fit({ ...data, classes: ["red", "green", "grey"] }, { epochs: 3, ...quiet, resume: true }),
    LocalgradError,
    'classNames ["red","green","blue"], not ["red","green","grey"]',
  );
  using second = await make({ device });
  const { bestError } = await second.fit(data, { epochs: 3, ...quiet, resume: true });
  assertEquals(bestError, whole.bestError);
  assertEquals(bits(await second.snapshot()), bits(await whole.snapshot()));
  const lines = (await Deno.readTextFile(`${checkpoint}/metrics.jsonl`)).trim().split("\n").map((l) =>
    JSON.parse(l)
  );
  assertEquals(lines.filter(({ kind }) => kind === "step").map(({ step }) => step), [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
  ]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("fit() and trainer() refuse unsuitable options and data", async () => {
  await using device = await open("reference");
  using t = await make({ device, model: tinyModel(2) });
  const data = tinyDataset(4, 4);
  await assertRejects(() => t.fit(data, { epochs: 1 }), LocalgradError, "3 classes");
  using u = await make({ device });
  await assertRejects(() => u.fit({ ...data, width: 9 }, { epochs: 1 }), LocalgradError, "8×8×3");
  await assertRejects(() => u.fit(data, { epochs: 0 }), LocalgradError, "epochs");
  await assertRejects(() => u.fit(data, { epochs: 1, evaluateEvery: 0.5 }), LocalgradError, "evaluateEvery");
  await assertRejects(
    () => u.fit(tinyDataset(1, 4), { epochs: 1 }),
    LocalgradError,
    "one training image; batch norm needs at least two",
  );
  for (const rate of [NaN, -0.1, Infinity]) {
    using v = await make({ device, schedule: () => rate });
    await assertRejects(() => v.fit(data, { epochs: 1, observers: [] }), LocalgradError, "learning rate");
    const batch = { x: noise("x", [6, 8, 8, 3]), labels: integers([0, 1, 2, 0, 1, 2]) };
    await assertRejects(() => v.step(batch), LocalgradError, `not ${rate}`);
  }
  const first = u.fit(data, { epochs: 1, observers: [] });
  await assertRejects(
    () => u.fit(data, { epochs: 1, observers: [] }),
    LocalgradError,
    "already running; await the previous `fit()`",
  );
  await first;
  await u.fit(data, { epochs: 2, observers: [] });
  assertEquals(u.stepsDone, 2);
  await assertRejects(() => make({ device, batch: 0 }), LocalgradError, "batch");
  await assertRejects(() => make({ device, batch: 2.5 }), LocalgradError, "batch");
  await assertRejects(() => make({ device, modules: 4 }), LocalgradError, "at most 3");
  await assertRejects(() => make({ device, seed: -1 }), LocalgradError, "seed");
});

Deno.test("fit(), evaluate() and probe() refuse a data set that contradicts itself", async () => {
  await using device = await open("reference");
  using t = await make({ device });
  using narrow = await make({ device, model: tinyModel(2) });
  const data = tinyDataset(4, 4);
  const { test } = data;
  const cases: [RegExp, Partial<ImageDataset>][] = [
    [/test part of colours has 0 images/, { test: { ...test, count: 0 } }],
    [/has 4 images and 3 labels/, { test: { ...test, labels: test.labels.slice(1) } }],
    [/has 767 bytes of pixels; 4 images of 192 are 768/, { test: { ...test, images: test.images.slice(1) } }],
    [/image 1 has class 3; 3 classes are 0 to 2/, { test: { ...test, labels: Int32Array.of(0, 3, 1, 2) } }],
    [/image 0 has class -1/, { test: { ...test, labels: Int32Array.of(-1, 0, 1, 2) } }],
    [/std of 1 channels, its images 3/, { std: [0.25] }],
    [/colours has 0 in its std, which cannot normalise/, { std: [0.25, 0, 0.25] }],
    [/colours has -1 in its std/, { std: [-1, 1, 1] }],
    [/colours has NaN in its mean/, { mean: [0, 0, NaN] }],
    [/takes images of 8×8×3, .* 8×9×3/, { width: 9 }],
  ];
  for (const [message, wrong] of cases) {
    const set = { ...data, ...wrong };
    for (const use of [() => t.fit(set, { epochs: 1 }), () => t.evaluate(set), () => probe(t, set)]) {
      const error = await assertRejects(use, LocalgradError);
      assertMatch(error.message, message);
    }
  }
  await assertRejects(() => narrow.evaluate(data), LocalgradError, "evaluate: colours has 3 classes");
  for (const bad of [{ epochs: 0 }, { batch: 1.5 }, { learningRate: NaN }]) {
    await assertRejects(() => probe(t, data, bad), LocalgradError, Object.keys(bad)[0]);
  }
  await t.evaluate({ ...data, train: { ...data.train, count: 0 } }); // reads the test images only
});

Deno.test("a run is not resumed without its loss", () =>
  inFolder(async (folder) => {
    await using device = await open("cpu");
    const images = tinyDataset(16, 8);
    const options = { epochs: 1, observers: [], checkpoint: folder, resume: true };
    using trainer = await make({ device, loss: squaredErrorLoss() });
    await trainer.fit(images, options);
    using another = await make({ device });
    await assertRejects(
      () => another.fit(images, { ...options, epochs: 2 }),
      LocalgradError,
      'has loss {"name":"squaredError"}, not left out',
    );
  }));
