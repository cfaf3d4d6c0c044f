import { assert, assertEquals, assertRejects } from "@std/assert";
import v8 from "node:v8";
import vm from "node:vm";
import { liveWorkerCount } from "../src/backends/cpu/threads.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { arrays } from "../src/data/arrays.ts";
import { stream, type StreamBatch } from "../src/data/stream.ts";
import { dgl, greedy, man, type Method, type Trainer, trainer } from "../src/local.ts";
import { mlp } from "../src/models/mlp.ts";
import { constant, sgd } from "../src/optim.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { open } from "../src/runtime/devices.ts";
import { jit } from "../src/runtime/jit.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { imageFeed } from "../src/training/feeds/image_feed.ts";
import { openRow, rows } from "./rows.ts";
import { tinyDataset, tinyModel } from "./tiny.ts";

const images = tinyDataset(20, 10); // not a multiple of the batch: two programs
const make = (device: Device, method: Method, rate = 0.01) =>
  trainer({
    device,
    model: tinyModel(),
    modules: 3,
    method,
    optimizer: sgd({ momentum: 0.9 }),
    schedule: constant(rate),
    batch: 8,
  });

/** Collects garbage, so that only live memory is measured. */
const collect = (() => {
  v8.setFlagsFromString("--expose-gc");
  return vm.runInNewContext("gc") as () => void;
})();

for (const { row: name, ignore } of await rows("cpu", "cpu-onednn", "webgpu")) {
  const openOne = () => openRow(name, { threads: 2 });
  Deno.test(`training leaves no array, buffer or worker behind on ${name}`, { ignore }, async () => {
    const device = await openOne();
    const observers = [{ start: () => {} }];
    const runs: ((trainer: Trainer) => Promise<unknown>)[] = [
      (trainer) => trainer.fit(images, { epochs: 2, observers }),
      (trainer) => trainer.evaluate(images),
      (trainer) => trainer.fit(images, { epochs: 2, observers, signal: AbortSignal.abort() }),
      (trainer) =>
        assertRejects(
          () => trainer.fit(images, { epochs: 1, observers: [{ step: fail }] }),
          Error,
          "the observer failed",
        ),
      async (trainer) => trainer.restore(await trainer.snapshot()),
    ];
    for (const run of runs) {
      using trainer = await make(device, man(dgl()));
      const before = device.liveArrays;
      await run(trainer);
      assertEquals(device.liveArrays, before, `${run}`);
    }
    {
      using exploding = await make(device, greedy(), 1e30);
      await assertRejects(() => exploding.fit(images, { epochs: 3, observers }), LocalgradError, "became");
    }
    assertEquals([device.liveArrays, device.backend.liveBuffers], [0, 1], "all but the arena is freed");
    await device.close();
    const { liveBuffers, liveBytes } = device.backend;
    assertEquals([device.liveArrays, liveBuffers, liveBytes, liveWorkerCount()], [0, 0, 0, 0]);
  });

  Deno.test(`a thousand training steps leave memory flat on ${name}`, { ignore }, async () => {
    await using device = await openOne();
    using trainer = await make(device, man(greedy()));
    await using feed = imageFeed(device, images, images.train);
    using stepper = trainer.stepper(feed);
    const train = async (steps: number) => {
      for (let i = 0; i < steps; i++) {
        using metrics = stepper.step(Uint32Array.from({ length: 8 }, (_, k) => (i + k) % 20), 0.01);
        if (i % 20 === 0) await metrics.read();
      }
      await device.finish();
      collect();
      const { rss, heapUsed, external } = Deno.memoryUsage();
      const { liveBuffers, liveBytes } = device.backend;
      return { rss, heap: heapUsed + external, counts: [device.liveArrays, liveBuffers, liveBytes] };
    };
    const before = await train(200);
    const after = await train(1000);
    assertEquals(after.counts, before.counts);
    // About 100 KiB and 1 MiB are normal, for compiled code and the caches of the allocator and the driver.
    const [heap, rss] = [after.heap - before.heap, after.rss - before.rss];
    assert(heap < 2 ** 19, `the heap grew by ${heap} bytes, ${heap / 1000} a step`);
    assert(rss < 8 * 2 ** 20, `the process grew by ${rss} bytes, ${rss / 1000} a step`);
  });
}

/** Batches of eight vectors with values. */
function vectors(count: number) {
  const x = Float32Array.from({ length: 3 * count }, (_, i) => Math.sin(i));
  return { x, labels: Float32Array.from({ length: count }, (_, i) => x[3 * i]!) };
}

async function* endless(): AsyncGenerator<StreamBatch> {
  for (;;) {
    await Promise.resolve();
    yield vectors(8);
  }
}

for (
  const [name, set] of Object.entries({
    arrays: arrays({ ...vectors(800), test: vectors(8) }),
    "a stream": stream({ batches: endless, stepsPerEpoch: 100, test: vectors(8) }),
  })
) {
  Deno.test(`fit() for a thousand steps on ${name} leaves memory flat`, async () => {
    await using device = await open("cpu", { threads: 2 });
    using t = await trainer({
      device,
      model: mlp({ features: 3, hidden: [8, 8], outputs: 1 }),
      modules: 2,
      method: man(greedy()),
      optimizer: sgd({ momentum: 0.9 }),
      batch: 8,
    });
    const measured: { readonly heap: number; readonly counts: number[] }[] = [];
    const measure = () => {
      collect();
      const { heapUsed, external } = Deno.memoryUsage();
      const { liveBuffers, liveBytes } = device.backend;
      measured.push({ heap: heapUsed + external, counts: [device.liveArrays, liveBuffers, liveBytes] });
    };
    const before = device.liveArrays;
    const { signal } = new AbortController(); // waited for beside each batch
    await t.fit(set, { epochs: 12, observers: [{ epoch: measure }], signal });
    assertEquals([t.stepsDone, measured.length, device.liveArrays], [1200, 12, before]);
    const [from, to] = [measured[1]!, measured[11]!];
    assertEquals(to.counts, from.counts);
    const grown = to.heap - from.heap;
    assert(grown < 2 ** 18, `the heap grew by ${grown} bytes, ${grown / 1000} a step`);
  });
}

Deno.test("compiling programs for ever new shapes leaves the heap flat", async () => {
  await using device = await open("cpu", { threads: 2 });
  const f = jit((x: Tensor) => x.exp().sum(0).add(x), { device, maxPrograms: 8 });
  let size = 0;
  const grow = async (calls: number) => {
    for (let i = 0; i < calls; i++) f(new Float32Array(++size)).dispose();
    await new Promise((resolve) => setTimeout(resolve, 0));
    collect();
    const { heapUsed, external } = Deno.memoryUsage();
    return heapUsed + external;
  };
  const before = await grow(30);
  const grown = await grow(150) - before;
  assert(grown < 2 ** 20, `the heap grew by ${grown} bytes, ${grown / 150} a program`);
  assert(device.backend.liveBytes < 2 ** 16);
});

Deno.test("devices opened one after the other take the memory of one", async () => {
  const use = async () => {
    await using device = await open("cpu", { threads: 2 });
    using x = device.zeros([2 ** 24]); // 64 MiB
    using y = jit((x: Tensor) => x.add(1).sum(), { device })(x);
    assertEquals([...await y.read()], [2 ** 24]);
  };
  await use();
  const before = Deno.memoryUsage().rss;
  let grown = 0;
  for (let i = 0; i < 8; i++) {
    await use();
    grown = Math.max(grown, Deno.memoryUsage().rss - before);
  }
  assert(grown < 48 * 2 ** 20, `the process grew by ${grown} bytes`);
});

function fail(): never {
  throw new Error("the observer failed");
}
