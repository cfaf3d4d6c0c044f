import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { host, integers, noise, run } from "../../tests/run.ts";
import { skips } from "../../tests/gate.ts";
import { tinyDataset, tinyModel } from "../../tests/tiny.ts";
import { ReferenceBackend } from "../backends/reference/backend.ts";
import { openWebgpu } from "../backends/webgpu/backend.ts";
import type { ImageDataset } from "../data/images.ts";
import { open } from "../devices.ts";
import { LocalgradError } from "../errors.ts";
import { constant } from "../optim/schedules.ts";
import { sgd } from "../optim/sgd.ts";
import { Device, type HostArray } from "../trace/arrays.ts";
import type { Tensor } from "../trace/tensor.ts";
import { dgl } from "./dgl.ts";
import { openFeed } from "./feed.ts";
import { infopro } from "./infopro.ts";
import { man } from "./man.ts";
import { manPlusPlus } from "./man_plus_plus.ts";
import { endToEnd } from "./end_to_end.ts";
import type { EpochRecord, Observer, Snapshot, StepRecord } from "./observer.ts";
import { probe } from "./probe.ts";
import { trainer, type TrainerOptions } from "./trainer.ts";

type Options = Partial<TrainerOptions> & { device: Device };

const make = (options: Options) =>
  trainer({
    model: tinyModel(),
    modules: 3,
    method: man(dgl()),
    optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    schedule: constant(0.05),
    batch: 16,
    ...options,
  });

/** What happened in a run, in order. */
function recorder() {
  const steps: StepRecord[] = [], epochs: EpochRecord[] = [], events: string[] = [];
  let saved: Snapshot | undefined;
  const observer: Observer = {
    start: () => void events.push("start"),
    step: (record) => void steps.push(record),
    epoch: (record) => void (epochs.push(record), events.push(`epoch ${record.epoch}`)),
    save: (snapshot, kinds) => void (saved = snapshot, events.push(`save ${kinds.join()}`)),
    end: (reason) => void events.push(reason),
  };
  return { observer, steps, epochs, events, saved: () => saved! };
}

const bits = (snapshot: Snapshot) =>
  Object.fromEntries([...snapshot.tensors].map(([name, { data }]) => [name, [...data]]));

const noWebgpu = await skips("webgpu", openWebgpu);

for (const name of ["reference", "cpu", "webgpu"] as const) {
  const ignore = name === "webgpu" && noWebgpu;

  Deno.test(`fit() on ${name} lowers the losses and the error of a simple problem`, { ignore }, async () => {
    await using device = await open(name);
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

  // The reference keeps float64, of which a snapshot holds the float32.
  if (name === "reference") continue;

  Deno.test(
    `fit() on ${name}, stopped and resumed, equals the uninterrupted run bit for bit`,
    { ignore },
    async () => {
      await using device = await open(name);
      const data = tinyDataset(40, 10); // 3 steps an epoch, the last of 8 images
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

/** Stops a run before its step of this number. */
function stopBefore(step: number): AbortSignal {
  let asked = 0;
  return {
    get aborted() {
      return ++asked >= step;
    },
  } as AbortSignal;
}

Deno.test("fit() judges after every so many epochs and the last, and saves after each, also where it goes on", async () => {
  await using device = await open("cpu");
  const data = tinyDataset(32, 10); // 2 steps an epoch
  const options = { device, method: dgl() };
  using always = await make(options);
  await always.fit(data, { epochs: 5, observers: [] });
  using whole = await make(options);
  const { observer, epochs, events } = recorder();
  const rarely = { epochs: 5, evaluateEvery: 2 };
  const { last, bestError } = await whole.fit(data, { ...rarely, observers: [observer] });
  assertEquals(epochs.map(({ epoch }) => epoch), [2, 4, 5]);
  assertEquals(events.filter((event) => event.startsWith("save")).length, 5);
  assertEquals(events.slice(0, 4), ["start", "save last", "epoch 2", "save best,last"]);
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

Deno.test("a seed decides everything: the same gives the same bits, another does not", async () => {
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

Deno.test("fit() trains on a smaller last batch, but not on one of a single image", async () => {
  await using device = await open("reference");
  for (const [count, sizes] of [[33, [16, 16]], [34, [16, 16, 2]], [5, [5]]] as [number, number[]][]) {
    using t = await make({ device, method: endToEnd() });
    const { observer, steps } = recorder();
    await t.fit(tinyDataset(count, 3), { epochs: 1, observers: [observer] });
    assertEquals(steps.map(({ images }) => images), sizes);
    assert(steps.every(({ accuracy }) => accuracy >= 0 && accuracy <= 1));
  }
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

Deno.test("step() trains on a batch of one's own", async () => {
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

Deno.test("fit() stops at a loss that is no number, naming module and step", async () => {
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

Deno.test("restore() refuses a snapshot of another network or method, and changes nothing", async () => {
  await using device = await open("reference");
  using t = await make({ device });
  const mine = await t.snapshot();
  using other = await make({ device, method: dgl() });
  using plain = await make({ device, method: endToEnd() });
  using wider = await make({ device, model: tinyModel(5) });
  const theirs = await other.snapshot();
  assertThrows(() => t.restore(theirs), LocalgradError, "has no local.0.bias");
  assertThrows(() => plain.restore(theirs), LocalgradError, "no place for");
  const wide = await wider.snapshot();
  assertThrows(() => t.restore(wide), LocalgradError, "f32[5,");
  assertEquals(bits(await t.snapshot()), bits(mine));
});

Deno.test("fit() and trainer() refuse what does not fit", async () => {
  await using device = await open("reference");
  using t = await make({ device, model: tinyModel(2) });
  const data = tinyDataset(4, 4);
  await assertRejects(() => t.fit(data, { epochs: 1 }), LocalgradError, "3 classes");
  using u = await make({ device });
  await assertRejects(() => u.fit({ ...data, width: 9 }, { epochs: 1 }), LocalgradError, "8×8×3");
  await assertRejects(() => u.fit(data, { epochs: 0 }), LocalgradError, "epochs");
  await assertRejects(() => u.fit(data, { epochs: 1, evaluateEvery: 0.5 }), LocalgradError, "evaluateEvery");
  await assertRejects(() => u.fit(tinyDataset(1, 4), { epochs: 1 }), LocalgradError, "single training image");
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
  await t.evaluate({ ...data, train: { ...data.train, count: 0 } }); // looks at the test images alone
});

Deno.test("a run with averages of another kind goes on bit for bit, and only with averages of that kind", async () => {
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
    await assertRejects(() => other.fit(data, kept), LocalgradError, "make the trainer as it was");
    using after = await make(options);
    await after.fit(data, kept);
    assertEquals(after.stepsDone, 6);
    assertEquals(bits(await after.snapshot()), bits(await whole.snapshot()));
    await Deno.remove(checkpoint, { recursive: true });
  }
});

Deno.test("fit() keeps a run in a folder and goes on with it", async () => {
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

Deno.test("openFeed() reads across shards that are as large as one value may be", async () => {
  const backend = new ReferenceBackend();
  const small = { ...backend.target, maxValueBytes: 3 * 8 * 8 * 3 + 5 };
  Object.defineProperty(backend, "target", { value: small });
  await using device = new Device(backend);
  const data = tinyDataset(8, 1);
  await using feed = openFeed(device, data, data.train);
  const shards = feed.arrays.shards as unknown as Record<
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
  assertEquals([...got.labels.data], order.map((i) => data.train.labels[i]));
  order.forEach((image, n) => {
    for (let i = 0; i < 192; i++) {
      const byte = data.train.images[image * 192 + i];
      assertAlmostEquals(got.images.data[n * 192 + i], byte / 255, 1e-7);
      assertAlmostEquals(got.x.data[n * 192 + i], (byte / 255 - 0.4) / 0.25, 1e-6);
    }
  });
});
