import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { openRow, rows } from "../../tests/rows.ts";
import { host, integers, noise, run } from "../../tests/run.ts";
import { tinyDataset, tinyModel } from "../../tests/tiny.ts";
import { bits, make, recorder, stopBefore } from "../../tests/tiny_trainer.ts";
import type { Snapshot, StepRecord } from "../artifacts/observer.ts";
import { ReferenceBackend } from "../backends/reference/backend.ts";
import { LocalgradError } from "../base/errors.ts";
import { dgl } from "../local/methods/dgl.ts";
import { endToEnd } from "../local/methods/end_to_end.ts";
import { infopro } from "../local/methods/infopro.ts";
import { manPlusPlus } from "../local/methods/man_plus_plus.ts";
import { Device } from "../runtime/arrays.ts";
import { open } from "../runtime/devices.ts";
import type { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { imageFeed } from "./feeds/image_feed.ts";

for (const { row: name, ignore } of await rows("reference", "cpu", "cpu-onednn", "webgpu")) {
  Deno.test(`fit() on ${name} lowers the losses and the error of a simple problem`, { ignore }, async () => {
    await using device = await openRow(name);
    {
      using t = await make({ device });
      const { observer, steps, epochs, events } = recorder();
      const { last, stopped } = await t.fit(tinyDataset(64, 30), { epochs: 6, observers: [observer] });
      assertEquals(stopped, false);
      assert(last!.error < 0.2, `error ${last!.error}`);
      assertEquals(steps.map(({ step }) => step), Array.from({ length: 24 }, (_, i) => i + 1));
      assertEquals(steps.map(({ epoch }) => epoch), [1, 2, 3, 4, 5, 6].flatMap((e) => [e, e, e, e]));
      for (const module of [0, 1, 2]) {
        const mean = (records: StepRecord[]) =>
          records.reduce((sum, { losses }) => sum + losses[module], 0) / 3;
        assert(mean(steps.slice(-3)) < 0.7 * mean(steps.slice(0, 3)), `module ${module} does not learn`);
      }
      assertEquals(events[0], "start");
      assertEquals(events.at(-1), "done");
      assertEquals(epochs.map(({ epoch }) => epoch), [1, 2, 3, 4, 5, 6]);
      assertEquals(epochs[5].testError, last!.error);
      assertEquals(Math.min(...epochs.map(({ testError }) => testError)), t.bestError);
      assertEquals(epochs[0].plannedPeakBytes, t.memory.method.peakBytes);
      assert(t.memory.endToEnd.peakBytes > 0);
    }
    assertEquals(device.liveArrays, 0);
  });

  // The reference backend computes in float64; a snapshot rounds it to float32.
  if (name === "reference") continue;

  Deno.test(
    `fit() on ${name}, stopped and resumed, equals the uninterrupted run bit for bit`,
    { ignore },
    async () => {
      await using device = await openRow(name);
      const data = tinyDataset(40, 10); // 3 steps per epoch, the last of 8 images
      const options = { device, seed: 5 };
      using whole = await make(options);
      await whole.fit(data, { epochs: 2, observers: [] });
      for (const stop of [2, 4, 6]) {
        const { observer, events, saved } = recorder();
        using before = await make(options);
        const { stopped } = await before.fit(data, {
          epochs: 2,
          signal: stopBefore(stop),
          observers: [observer],
        });
        assertEquals([stopped, events.at(-1), saved().step], [true, "stopped", stop - 1]);
        using after = await make(options);
        after.restore(saved());
        await after.fit(data, { epochs: 2, observers: [] });
        assertEquals(after.stepsDone, whole.stepsDone);
        assertEquals(after.bestError, whole.bestError);
        assertEquals(bits(await after.snapshot()), bits(await whole.snapshot()));
      }
    },
  );
}

Deno.test("the seed determines everything: equal seeds give equal bits, different seeds do not", async () => {
  await using device = await open("reference");
  const data = tinyDataset(20, 4);
  const snapshots: Snapshot[] = [];
  for (const seed of [1, 1, 2]) {
    using t = await make({ device, seed });
    await t.fit(data, { epochs: 1, observers: [] });
    snapshots.push(await t.snapshot());
  }
  assertEquals(bits(snapshots[0]), bits(snapshots[1]));
  const weight = (snapshot: Snapshot) => [...snapshot.tensors.get("conv1.weight")!.data];
  assertNotEquals(weight(snapshots[0]), weight(snapshots[2]));
});

Deno.test("evaluate() does not depend on how the test images are cut into batches", async () => {
  await using device = await open("reference");
  const data = tinyDataset(4, 11);
  const results = [];
  for (const batch of [2, 4, 11, 64]) {
    using t = await make({ device, batch });
    results.push(await t.evaluate(data));
  }
  for (const { error, loss, images } of results) {
    assertEquals(images, 11);
    assertEquals(error, results[0].error);
    assertAlmostEquals(loss, results[0].loss, 1e-6);
  }
});

Deno.test("step() trains on a batch given by the caller", async () => {
  await using device = await open("reference");
  using t = await make({ device, modules: 2 });
  const x = noise("x", [6, 8, 8, 3]);
  const labels = integers([0, 1, 2, 0, 1, 2]);
  const first = await t.step({ x, labels });
  assertEquals(first.losses.length, 2);
  let last = first;
  for (let i = 0; i < 10; i++) last = await t.step({ x, labels }, { learningRate: 0.1 });
  assertEquals(t.stepsDone, 11);
  last.losses.forEach((loss, i) => assert(loss < first.losses[i]));
  using u = await make({ device, modules: 2, method: infopro() });
  await assertRejects(() => u.step({ x, labels }), LocalgradError, "reconstructs");
  const { losses } = await u.step({ x, labels, images: host([...x.data].map((v) => (v + 1) / 2), x.shape) });
  assertEquals(losses.map(Number.isFinite), [true, true]);
});

Deno.test("step() refuses labels outside of the classes, and changes nothing", async () => {
  await using device = await open("cpu");
  using t = await make({ device });
  const x = noise("x", [4, 8, 8, 3]);
  for (const bad of [3, -1, 2 ** 31 - 1]) {
    const labels = Int32Array.of(0, 1, bad, 2);
    const message = `step: image 2 of the batch has label ${bad}; 3 classes are 0 to 2`;
    await assertRejects(() => t.step({ x, labels }), LocalgradError, message);
    using there = device.put(integers([...labels]));
    await assertRejects(() => t.step({ x, labels: there }), LocalgradError, message);
  }
  assertEquals(t.stepsDone, 0);
});

Deno.test("evaluate() counts images with NaN logits as wrong", async () => {
  await using device = await open("cpu");
  using t = await make({ device });
  const data = tinyDataset(4, 9);
  const snapshot = await t.snapshot();
  for (
    const [bias, error] of [[[NaN, NaN, NaN], 1], [[0, NaN, 0], 1], [
      [-Infinity, 0, -Infinity],
      2 / 3,
    ]] as const
  ) {
    const tensors = new Map([...snapshot.tensors, ["fc.bias", host(bias, [3])]]);
    t.restore({ ...snapshot, tensors });
    assertAlmostEquals((await t.evaluate(data)).error, error, 1e-12);
  }
});

Deno.test("restore() refuses a snapshot of another network or method, and changes nothing", async () => {
  await using device = await open("reference");
  using t = await make({ device });
  const mine = await t.snapshot();
  using other = await make({ device, method: dgl() });
  using plain = await make({ device, method: endToEnd() });
  using wider = await make({ device, model: tinyModel(5) });
  const theirs = await other.snapshot();
  assertThrows(() => t.restore(theirs), LocalgradError, "has no local.0.bias");
  assertThrows(() => plain.restore(theirs), LocalgradError, "no place here");
  const wide = await wider.snapshot();
  assertThrows(() => t.restore(wide), LocalgradError, "f32[5,");
  assertEquals(bits(await t.snapshot()), bits(mine));
});

Deno.test("a run with averages of another kind resumes bit for bit, and only with averages of that kind", async () => {
  await using device = await open("cpu");
  const data = tinyDataset(40, 10);
  const kinds = [
    { average: "trained", statistics: "average" },
    { moves: "beforeBackward", statistics: "copy", start: "random" },
  ] as const;
  for (const [i, kind] of kinds.entries()) {
    const options = { device, method: manPlusPlus(dgl(), { momentum: 0.9, ...kind }), modules: 2 };
    using whole = await make(options);
    await whole.fit(data, { epochs: 2, observers: [] });
    const checkpoint = await Deno.makeTempDir();
    const kept = { epochs: 2, checkpoint, observers: [], resume: true };
    using before = await make(options);
    await before.fit(data, { ...kept, signal: stopBefore(4) });
    using other = await make({ ...options, method: manPlusPlus(dgl(), { momentum: 0.9, ...kinds[1 - i] }) });
    await assertRejects(
      () => other.fit(data, kept),
      LocalgradError,
      "resume with the trainer and images of that run",
    );
    using after = await make(options);
    await after.fit(data, kept);
    assertEquals(after.stepsDone, 6);
    assertEquals(bits(await after.snapshot()), bits(await whole.snapshot()));
    await Deno.remove(checkpoint, { recursive: true });
  }
});

Deno.test("imageFeed() reads across shards of the largest size of a value", async () => {
  const backend = new ReferenceBackend();
  const small = { ...backend.target, maxValueBytes: 3 * 8 * 8 * 3 + 5 };
  Object.defineProperty(backend, "target", { value: small });
  await using device = new Device(backend);
  const data = tinyDataset(8, 1);
  await using feed = imageFeed(device, data, data.train);
  const shards = feed.arrays["shards"] as unknown as Record<
    string,
    { shape: number[]; toHost(): Promise<HostArray> }
  >;
  assertEquals(Object.entries(shards).map(([first, { shape }]) => [first, shape[0]]), [["0", 3], ["3", 3], [
    "6",
    2,
  ]]);
  const hosts: Record<string, HostArray> = {};
  for (const [first, shard] of Object.entries(shards)) hosts[first] = await shard.toHost();
  const order = [7, 0, 3, 5, 2, 6];
  const got = run(
    (shards: never, labels: Tensor, indices: Tensor) => feed.batch({ shards, labels }, indices),
    hosts,
    integers([...data.train.labels]),
    integers(order),
  );
  assertEquals([...got["labels"].data], order.map((i) => data.train.labels[i]));
  order.forEach((image, n) => {
    for (let i = 0; i < 192; i++) {
      const byte = data.train.images[image * 192 + i];
      assertAlmostEquals(got["images"].data[n * 192 + i], byte / 255, 1e-7);
      assertAlmostEquals(got["x"].data[n * 192 + i], (byte / 255 - 0.4) / 0.25, 1e-6);
    }
  });
});
